//! The thread pool.

use crate::error::{Error, Result};
use crate::process::Process;
use std::sync::OnceLock;

/// Most threads per hardware thread: more are slower, and thousands would stall the machine.
const MAX_THREADS: usize = 4;

/// A process's threads. A forked child has none of them and starts its own when it first needs them.
#[derive(Debug)]
pub(super) struct Pool {
    threads: rayon::ThreadPool,
    process: Process,
    child: OnceLock<Option<Box<Pool>>>,
}

impl Pool {
    /// A pool of `threads` threads (0: as many as the machine runs at once); fewer if the operating system refuses so
    /// many.
    pub(super) fn new(threads: usize) -> Result<Self> {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        if threads > MAX_THREADS * at_once {
            let expected = format!("at most {}: this machine runs {at_once} at once", MAX_THREADS * at_once);
            return Err(Error::argument("threads", threads.to_string(), expected));
        }
        let mut count = threads;
        loop {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("crossalign-{i}"));
            match pool.build() {
                Ok(threads) => return Ok(Self { threads, process: Process::current(), child: OnceLock::new() }),
                // A limit of the system: fewer threads are slower, but give the same results.
                Err(_) if count > 1 => count /= 2,
                Err(_) if count == 0 => count = at_once,
                Err(error) => return Err(Error::device("cpu", format!("no thread: {error}"))),
            }
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Runs `work` on the threads; in a forked child that cannot start any, on the calling thread.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if self.process == Process::current() {
            return self.threads.install(work);
        }
        match self.child.get_or_init(|| Self::new(self.threads()).ok().map(Box::new)) {
            Some(pool) => pool.run(work),
            None => work(),
        }
    }
}
