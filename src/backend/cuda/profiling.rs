//! Collecting launches for a profile.

use super::handles::Event;
use crate::backend::Dispatch;
use crate::lock::lock;
use std::sync::Mutex;

/// A launch between two events.
pub(super) struct Timed {
    pub(super) dispatch: Dispatch,
    pub(super) start: Event,
    pub(super) end: Event,
}

/// Launches are collected while this exists.
pub(super) struct Profiling<'a>(&'a Mutex<Option<Vec<Timed>>>);

impl<'a> Profiling<'a> {
    pub(super) fn begin(profile: &'a Mutex<Option<Vec<Timed>>>) -> Self {
        *lock(profile) = Some(Vec::new());
        Self(profile)
    }

    pub(super) fn end(self) -> Vec<Timed> {
        lock(self.0).take().unwrap_or_default()
    }
}

impl Drop for Profiling<'_> {
    fn drop(&mut self) {
        *lock(self.0) = None;
    }
}
