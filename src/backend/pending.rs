//! A result that a device still computes.

use crate::error::Result;

/// What has been submitted to a device and not been waited for. Dropping it leaves the work to the device.
#[must_use = "a result has to be waited for"]
pub struct Pending<'d, T>(Box<dyn FnOnce() -> Result<T> + Send + 'd>);

impl<'d, T: Send + 'd> Pending<'d, T> {
    /// A result that `wait` waits for and fetches.
    pub fn new(wait: impl FnOnce() -> Result<T> + Send + 'd) -> Self {
        Self(Box::new(wait))
    }

    /// A result that is there.
    pub fn ready(result: T) -> Self {
        Self::new(|| Ok(result))
    }

    /// The result.
    ///
    /// # Errors
    /// When the device fails.
    pub fn wait(self) -> Result<T> {
        self.0()
    }

    /// The same with `next` done to its result.
    pub fn map<U: Send + 'd>(self, next: impl FnOnce(T) -> U + Send + 'd) -> Pending<'d, U> {
        self.and_then(|result| Ok(next(result)))
    }

    /// The same with `next`, which may fail, done to its result.
    pub fn and_then<U: Send + 'd>(self, next: impl FnOnce(T) -> Result<U> + Send + 'd) -> Pending<'d, U> {
        Pending::new(|| self.wait().and_then(next))
    }
}

impl<T> std::fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
