//! Checks that a device has computed what it returns. One that is reset, or whose driver gives up, may report success
//! and leave stale memory.

use super::short_name;
use crate::error::{Error, Result};

/// How far a unit vector's length, or the sum of a softmax, may be from 1.
const TOLERANCE: f32 = 0.01;

/// Checks that all numbers are finite.
///
/// # Errors
/// When one is not: [`Error::Device`].
pub(super) fn finite(device: &str, what: &str, numbers: &[f32]) -> Result<()> {
    if numbers.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(no_result(device, what, "not finite")) }
}

/// Checks that rows of `width` numbers are finite, and with `unit` of length 1.
///
/// # Errors
/// When one is not: [`Error::Device`].
pub(super) fn embeddings(device: &str, rows: &[f32], width: usize, unit: bool) -> Result<()> {
    finite(device, "embeddings", rows)?;
    let is_unit = |row: &[f32]| (row.iter().map(|x| x * x).sum::<f32>().sqrt() - 1.0).abs() <= TOLERANCE;
    if !unit || rows.chunks(width.max(1)).all(is_unit) {
        Ok(())
    } else {
        Err(no_result(device, "embeddings", "not of length 1"))
    }
}

/// Checks that the weights of each segment, bounded by `offsets`, sum to 1, as those of a softmax do.
///
/// # Errors
/// When a segment's do not: [`Error::Device`].
pub(super) fn weights(device: &str, weights: &[f32], offsets: &[u32]) -> Result<()> {
    let sum = |segment: &[u32]| weights[segment[0] as usize..segment[1] as usize].iter().sum::<f32>();
    let is_one = |segment: &[u32]| segment[0] == segment[1] || (sum(segment) - 1.0).abs() <= TOLERANCE;
    if offsets.windows(2).all(is_one) { Ok(()) } else { Err(no_result(device, "weights", "not of sum 1")) }
}

fn no_result(device: &str, what: &str, found: &str) -> Error {
    Error::device(short_name(device), format!("returned no result: {what} that are {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_computed_is_no_result() {
        let error = embeddings("wgpu:0: a GPU", &[0.6, 0.8, 0.0, 0.0], 2, true).unwrap_err().to_string();
        assert_eq!(error, "device wgpu:0: returned no result: embeddings that are not of length 1");
        assert!(embeddings("", &[0.6, 0.8, 0.596, 0.796], 2, true).is_ok(), "within 1%");
        assert!(embeddings("", &[0.6, 0.8, 0.6, 0.82], 2, true).is_err());
        assert!(embeddings("", &[0.0, 5.7], 2, false).is_ok(), "as projected");
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(embeddings("", &[bad, 0.0], 2, false).is_err() && embeddings("", &[bad, 0.0], 2, true).is_err());
            assert!(finite("", "scores", &[0.0, bad]).is_err() && weights("", &[bad], &[0, 1]).is_err());
        }
        assert!(weights("", &[0.5, 0.5, 1.0], &[0, 2, 2, 3]).is_ok());
        assert!(weights("", &[0.5, 0.5, 0.0], &[0, 2, 3]).is_err());
    }
}
