//! Failures of a driver, as error values.
//!
//! wgpu reports failures in three ways: by an error callback apart from a call's result, by the loss of the device, and
//! by a panic where it assumes that a driver does not fail. A device that is lost, or in which wgpu has panicked, is
//! closed: it is not used any more, and every further call returns the reason.

use crate::error::{Error, Result};
use crate::lock::lock;
use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::pin::pin;
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::task::Poll;

/// The failures of a device.
pub(super) struct Faults {
    device: String,
    /// The error of a call, until `run` returns it.
    reported: Mutex<Option<Error>>,
    /// Why the device is closed: the first reason.
    closed: OnceLock<String>,
}

impl Faults {
    pub(super) fn of(device: String) -> Arc<Self> {
        Arc::new(Self { device, reported: Mutex::default(), closed: OnceLock::new() })
    }

    /// Registers the callbacks by which wgpu reports errors apart from a call's result.
    pub(super) fn watch(self: &Arc<Self>, device: &wgpu::Device) {
        let (uncaptured, lost) = (self.clone(), self.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let (device, reason) = (uncaptured.device.clone(), one_line(&error.to_string()));
            lock(&uncaptured.reported).get_or_insert(match error {
                wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { device, reason },
                _ => Error::Device { device, reason },
            });
        }));
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device is not a loss of the device.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost.close(&format!("device lost: {message}"));
            }
        });
    }

    /// Runs calls of wgpu.
    ///
    /// # Errors
    /// When they report an error or panic, or the device is closed.
    pub(super) fn run<T>(&self, calls: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        self.ended(caught(calls))
    }

    /// As [`Faults::run`], for calls that a browser answers later.
    pub(super) async fn run_async<T>(&self, calls: impl Future<Output = T>) -> Result<T> {
        self.check()?;
        self.ended(caught_async(calls).await)
    }

    fn ended<T>(&self, result: Result<T, String>) -> Result<T> {
        match result {
            Ok(result) => self.check().map(|()| result),
            Err(panic) => Err(self.close(&panic)),
        }
    }

    /// Closes the device; returns the error that every call gets from then on.
    pub(super) fn close(&self, reason: &str) -> Error {
        self.error(self.closed.get_or_init(|| reason.into()))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    pub(super) fn error(&self, reason: &str) -> Error {
        Error::device(&self.device, one_line(reason))
    }

    fn check(&self) -> Result<()> {
        match self.closed.get() {
            Some(reason) => Err(self.error(reason)),
            None => lock(&self.reported).take().map_or(Ok(()), Err),
        }
    }
}

/// A handle of wgpu whose drop may panic; the panic is caught.
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(super) fn new(handle: T) -> Self {
        Self(Some(handle))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let _ = caught(|| drop(self.0.take()));
    }
}

thread_local! {
    /// Whether this thread is within [`caught`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs calls of wgpu; if they panic, returns the message, which is not printed. The only place that catches unwinding;
/// in a browser a panic ends the page's program, and is printed.
pub(super) fn caught<T>(calls: impl FnOnce() -> T) -> Result<T, String> {
    quieten();
    let outer = CAUGHT.replace(true);
    // Only wgpu's state may be left inconsistent by a panic, and the device is closed then.
    let result = catch_unwind(AssertUnwindSafe(calls));
    CAUGHT.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("wgpu gave up: {}", one_line(text.unwrap_or("no reason told")))
    })
}

/// As [`caught`], for calls that a browser answers later.
pub(super) async fn caught_async<T>(calls: impl Future<Output = T>) -> Result<T, String> {
    let mut calls = pin!(calls);
    let poll = poll_fn(|context| match caught(|| calls.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    poll.await
}

/// Installs a panic hook that passes all panics but those within [`caught`] on to the program's own hook. The hook is
/// global, so it is set once and looks at a flag of the thread.
fn quieten() {
    static ONCE: Once = Once::new();
    // A panicking thread may not set a hook.
    if cfg!(panic = "unwind") && !std::thread::panicking() {
        ONCE.call_once(|| {
            let others = take_hook();
            set_hook(Box::new(move |panic| {
                if !CAUGHT.get() {
                    others(panic);
                }
            }));
        });
    }
}

/// A message of several lines as one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_closes_the_device_with_its_message() {
        let faults = Faults::of("wgpu:7".into());
        assert_eq!(faults.run(|| 1).unwrap(), 1);
        let error = faults.run(|| -> u8 { panic!("a driver\n  that {}", "fails") }).unwrap_err().to_string();
        assert_eq!(error, "device wgpu:7: wgpu gave up: a driver that fails");
        let mut asked = false;
        assert_eq!(faults.run(|| asked = true).unwrap_err().to_string(), error);
        assert!(!asked, "nothing more is asked of it");
        assert_eq!(faults.close("later").to_string(), error, "the first reason stays");
    }

    #[test]
    fn a_reported_error_is_told_once() {
        let faults = Faults::of("wgpu:7".into());
        let report = || *lock(&faults.reported) = Some(Error::device("wgpu:7", "refused"));
        assert_eq!(faults.run(report).unwrap_err().to_string(), "device wgpu:7: refused");
        assert!(faults.run(|| ()).is_ok() && !faults.is_closed());
    }

    #[test]
    fn a_loss_is_the_reason_rather_than_the_panic_behind_it() {
        let faults = Faults::of("wgpu:7".into());
        let lost = || -> () {
            faults.close("device lost: reset");
            panic!("Device::poll")
        };
        assert_eq!(faults.run(lost).unwrap_err().to_string(), "device wgpu:7: device lost: reset");
    }

    #[test]
    fn a_drop_that_panics_is_caught() {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        drop(Guarded::new(Bad));
        assert!(!CAUGHT.get());
    }
}
