//! A result that a device is still computing.

use crate::error::Result;

/// The result of work that a device was given. Dropping it does not cancel the work.
#[must_use = "a result has to be waited for"]
pub struct Pending<'d, T>(Box<dyn FnOnce() -> Result<T> + Send + 'd>);

impl<'d, T: Send + 'd> Pending<'d, T> {
    /// A result that `wait` waits for and fetches.
    pub fn new(wait: impl FnOnce() -> Result<T> + Send + 'd) -> Self {
        Self(Box::new(wait))
    }

    /// A result that is already available.
    pub fn ready(result: T) -> Self {
        Self::new(|| Ok(result))
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// When the device fails.
    pub fn wait(self) -> Result<T> {
        self.0()
    }

    /// Applies `next` to the result once it is waited for.
    pub fn map<U: Send + 'd>(self, next: impl FnOnce(T) -> U + Send + 'd) -> Pending<'d, U> {
        self.and_then(|result| Ok(next(result)))
    }

    /// Applies `next`, which may fail, to the result once it is waited for.
    pub fn and_then<U: Send + 'd>(self, next: impl FnOnce(T) -> Result<U> + Send + 'd) -> Pending<'d, U> {
        Pending::new(|| self.wait().and_then(next))
    }
}

impl<T> std::fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
