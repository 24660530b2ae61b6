//! The limit on a result's memory.

use crate::error::{Error, Result};

/// The most bytes of a result with the file that is made of it.
const LIMIT: u64 = 4 << 30;

/// Refuses, before it is made, a result that would take so many bytes.
pub(super) fn check(what: &str, bytes: u128) -> Result<()> {
    if bytes <= u128::from(LIMIT) {
        return Ok(());
    }
    Err(Error::argument("memory", format!("{what}, which take {bytes} bytes"), format!("at most {LIMIT} bytes")))
}
