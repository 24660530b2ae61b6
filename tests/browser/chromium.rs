//! Headless Chromium.

use crate::server::{File, serve};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(600);

/// Whether pages have an adapter.
#[derive(Clone, Copy)]
pub enum WebGpu {
    /// The software driver.
    Offered,
    None,
}

impl WebGpu {
    fn flags(self) -> &'static [&'static str] {
        match self {
            // The software driver is not offered to pages otherwise.
            Self::Offered => &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
            Self::None => &[],
        }
    }
}

/// Opens the file without a name, and returns what it posts to `/results`.
pub fn results(files: Vec<File>, web_gpu: WebGpu) -> Result<String, String> {
    let (address, results) = serve(files);
    let mut browser = Browser::open(address, web_gpu);
    let started = Instant::now();
    loop {
        match results.recv_timeout(Duration::from_millis(100)) {
            Ok(results) => return Ok(results),
            Err(RecvTimeoutError::Timeout) if started.elapsed() < LIMIT && browser.is_running() => {}
            Err(_) => return Err(format!("no results after {:?}: {}", started.elapsed(), browser.log())),
        }
    }
}

/// A headless Chromium, until it is dropped.
struct Browser {
    process: Child,
    /// All that it writes.
    home: tempfile::TempDir,
}

impl Browser {
    fn open(address: SocketAddr, web_gpu: WebGpu) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        let process = Command::new("/usr/bin/chromium")
            // Root has no sandbox.
            .args(["--headless", "--no-sandbox"])
            .args(web_gpu.flags())
            // No other host is looked for.
            .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg(format!("http://{address}/"))
            .envs(["HOME", "TMPDIR"].map(|name| (name, home.path())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, home }
    }

    fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Fails when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
