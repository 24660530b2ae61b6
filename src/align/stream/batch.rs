//! A batch that fails in part.

use crate::align::planned::PlannedPicture;
use crate::error::{Error, Result};

/// The results of pictures, in order. Where they are an error, the pictures are run in halves, down to single ones, so that
/// one that is too large loses only itself.
///
/// # Errors
/// When the device fails, which is no picture's fault: then `results` has those of the pictures before.
pub(super) fn finish<R>(
    pictures: &[PlannedPicture<'_>],
    found: Result<Vec<R>>,
    run: &impl Fn(&[PlannedPicture<'_>]) -> Result<Vec<R>>,
    results: &mut Vec<Result<R>>,
) -> Result<()> {
    match found {
        Ok(found) => results.extend(found.into_iter().map(Ok)),
        Err(error @ Error::Device { .. }) => return Err(error),
        Err(error) if pictures.len() == 1 => results.push(Err(error)),
        Err(_) => {
            let (first, second) = pictures.split_at(pictures.len() / 2);
            finish(first, run(first), run, results)?;
            finish(second, run(second), run, results)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::planned;
    use super::*;
    use crate::align::planned::Planned;
    use crate::image::Picture;
    use std::cell::Cell;

    fn pictures(count: u8) -> Vec<(Picture, Planned)> {
        let picture = |i| Picture::new(1, 1, vec![i; 3]).unwrap();
        (0..count)
            .map(picture)
            .map(|picture| (planned(&picture), picture))
            .map(|(planned, picture)| (picture, planned))
            .collect()
    }

    fn number((picture, _): &PlannedPicture<'_>) -> u8 {
        picture.as_rgb().pixels()[0]
    }

    #[test]
    fn bad_pictures_lose_only_themselves() {
        let (pictures, calls) = (pictures(64), Cell::new(0));
        let pictures: Vec<PlannedPicture<'_>> = pictures.iter().map(|(picture, planned)| (picture, planned)).collect();
        let together = |batch: &[PlannedPicture<'_>]| {
            calls.set(calls.get() + 1);
            let numbers: Vec<u8> = batch.iter().map(number).collect();
            let bad = numbers.iter().find(|&&number| [0, 40, 41].contains(&number));
            bad.map_or(Ok(numbers.clone()), |bad| Err(Error::argument("picture", bad.to_string(), "good")))
        };
        let mut results = Vec::new();
        finish(&pictures, together(&pictures), &together, &mut results).unwrap();
        for (i, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), [0, 40, 41].contains(&i), "{i}");
            assert!(result.as_ref().map_or(true, |&number| usize::from(number) == i));
        }
        assert_eq!(results.len(), 64);
        assert!(calls.get() < 30, "{} calls", calls.get());
    }

    #[test]
    fn a_device_that_fails_ends_it() {
        let (pictures, lost) = (pictures(8), Cell::new(false));
        let pictures: Vec<PlannedPicture<'_>> = pictures.iter().map(|(picture, planned)| (picture, planned)).collect();
        let together = |batch: &[PlannedPicture<'_>]| match batch {
            _ if lost.get() => panic!("the device is asked again"),
            [one] if number(one) == 2 => {
                lost.set(true);
                Err(Error::device("cuda:0", "lost"))
            }
            _ if batch.iter().any(|picture| number(picture) == 2) => Err(Error::argument("batch", "2", "no 2")),
            _ => Ok(vec![(); batch.len()]),
        };
        let mut results = Vec::new();
        assert!(matches!(finish(&pictures, together(&pictures), &together, &mut results), Err(Error::Device { .. })));
        assert_eq!(results.len(), 2);
    }
}
