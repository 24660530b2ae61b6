//! A batch that fails in part.

use crate::error::{Error, Result};
use crate::image::Picture;

/// Runs pictures together; where that fails, in halves, down to single pictures, so that one that is too large or that
/// has no room for a box loses only itself. The results come in order.
///
/// # Errors
/// When the device fails, which is no picture's fault: then `results` has those of the pictures before.
pub(super) fn run<R>(
    pictures: &[&Picture],
    together: &impl Fn(&[&Picture]) -> Result<Vec<R>>,
    results: &mut Vec<Result<R>>,
) -> Result<()> {
    if pictures.is_empty() {
        return Ok(());
    }
    match together(pictures) {
        Ok(found) => results.extend(found.into_iter().map(Ok)),
        Err(error @ Error::Device { .. }) => return Err(error),
        Err(error) if pictures.len() == 1 => results.push(Err(error)),
        Err(_) => {
            let (first, second) = pictures.split_at(pictures.len() / 2);
            run(first, together, results)?;
            run(second, together, results)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn pictures(count: u8) -> Vec<Picture> {
        (0..count).map(|i| Picture::new(1, 1, vec![i; 3]).unwrap()).collect()
    }

    fn number(picture: &Picture) -> u8 {
        picture.as_rgb().pixels()[0]
    }

    #[test]
    fn bad_pictures_lose_only_themselves() {
        let (pictures, calls) = (pictures(64), Cell::new(0));
        let pictures: Vec<&Picture> = pictures.iter().collect();
        let together = |batch: &[&Picture]| {
            calls.set(calls.get() + 1);
            let numbers: Vec<u8> = batch.iter().map(|picture| number(picture)).collect();
            let bad = numbers.iter().find(|&&number| [0, 40, 41].contains(&number));
            bad.map_or(Ok(numbers.clone()), |bad| Err(Error::argument("picture", bad.to_string(), "good")))
        };
        let mut results = Vec::new();
        run(&pictures, &together, &mut results).unwrap();
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
        let pictures: Vec<&Picture> = pictures.iter().collect();
        let together = |batch: &[&Picture]| match batch {
            _ if lost.get() => panic!("the device is asked again"),
            [one] if number(one) == 2 => {
                lost.set(true);
                Err(Error::device("cuda:0", "lost"))
            }
            _ if batch.iter().any(|picture| number(picture) == 2) => Err(Error::argument("batch", "2", "no 2")),
            _ => Ok(vec![(); batch.len()]),
        };
        let mut results = Vec::new();
        assert!(matches!(run(&pictures, &together, &mut results), Err(Error::Device { .. })));
        assert_eq!(results.len(), 2);
    }
}
