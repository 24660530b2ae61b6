//! A result that a device is still computing.

use crate::block_on::block_on;
use crate::error::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The result of work that a device was given: to wait for, or in a browser, where nothing may wait, to await. Natively
/// a poll waits. Dropping it does not cancel the work.
#[must_use = "a result has to be waited for"]
pub struct Pending<'d, T>(Pin<Box<dyn Future<Output = Result<T>> + Send + 'd>>);

impl<'d, T: Send + 'd> Pending<'d, T> {
    /// A result that `wait` waits for and fetches.
    pub fn new(wait: impl FnOnce() -> Result<T> + Send + 'd) -> Self {
        Self::awaited(async { wait() })
    }

    /// A result that `future` fetches.
    pub(crate) fn awaited(future: impl Future<Output = Result<T>> + Send + 'd) -> Self {
        Self(Box::pin(future))
    }

    /// A result that is already available.
    pub fn ready(result: T) -> Self {
        Self::new(|| Ok(result))
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// When the device fails; in a browser, when the result is not there yet.
    pub fn wait(self) -> Result<T> {
        block_on(self)
    }

    /// Applies `next` to the result once it is there.
    pub fn map<U: Send + 'd>(self, next: impl FnOnce(T) -> U + Send + 'd) -> Pending<'d, U> {
        self.and_then(|result| Ok(next(result)))
    }

    /// Applies `next`, which may fail, to the result once it is there.
    pub fn and_then<U: Send + 'd>(self, next: impl FnOnce(T) -> Result<U> + Send + 'd) -> Pending<'d, U> {
        Pending::awaited(async { next(self.await?) })
    }
}

impl<T> Future for Pending<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        self.0.as_mut().poll(context)
    }
}

impl<T> std::fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
