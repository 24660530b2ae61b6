//! In a browser: headless Chromium with its own WebGPU, on a software driver.

#[path = "../common/mod.rs"]
mod common;

mod chromium;
mod kernels;
mod page;
mod server;
