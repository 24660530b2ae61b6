//! Where a caller that blocks meets async code.

use crate::error::{Error, Result};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs one of the crate's futures to its end. Natively they block where they wait for a device, so that one poll is
/// enough; in a browser, where nothing may block, it is an error to wait.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            let reason = "a browser cannot wait for a result: await it, by the function whose name ends in _async";
            Err(Error::device("wgpu", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_at_once_is_an_error() {
        assert_eq!(block_on(async { Ok(1) }).unwrap(), 1);
        let error = block_on(std::future::pending::<Result<()>>()).unwrap_err().to_string();
        assert!(error.starts_with("device wgpu: a browser cannot wait for a result"), "{error}");
    }
}
