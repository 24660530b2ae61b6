//! Sequences of launches as CUDA graphs: the driver submits a graph at once.

use super::context::{Context, Table};
use super::driver::failed;
use crate::error::Result;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream};
use std::collections::HashMap;
use std::sync::Arc;

/// The graphs of a sequence, by the shape of its batch.
#[derive(Default)]
pub struct CudaRecording(HashMap<usize, Recorded>);

/// What is known of one shape.
enum Recorded {
    /// It ran once: the tensors have their sizes, and the tables are on the device.
    Ran,
    Graph {
        graph: CudaGraph,
        /// [`Context::moved`] when it was captured: it holds pointers.
        moved: u64,
        /// What it reads besides tensors.
        _tables: Vec<Table>,
    },
}

// SAFETY: graphs are not synchronised by the driver; ours are only used with the context's turn, and mutably borrowed.
unsafe impl Send for CudaRecording {}

impl std::fmt::Debug for CudaRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl CudaRecording {
    /// Runs `work`: as it is the first time of a shape, captured as a graph the second time, as that graph from then on.
    pub(super) fn replay(&mut self, context: &Context, key: usize, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        // A profile wants every launch.
        if context.is_profiling() {
            return work();
        }
        let failed = failed(context.index);
        match self.0.get(&key) {
            None => {
                work()?;
                self.0.insert(key, Recorded::Ran);
                Ok(())
            }
            Some(Recorded::Graph { graph, moved, .. }) if *moved == context.moved() => {
                context.without_launches(work)?;
                context.in_turn(|| graph.launch()).map_err(failed)
            }
            Some(_) => {
                // Should the capture fail, for a table that has to be uploaded first, say, this is one more first run.
                self.0.insert(key, Recorded::Ran);
                match capture(context, &mut work) {
                    Some((graph, tables)) => {
                        context.in_turn(|| graph.launch()).map_err(failed)?;
                        let recorded = Recorded::Graph { graph, moved: context.moved(), _tables: tables };
                        self.0.insert(key, recorded);
                        Ok(())
                    }
                    None => work(),
                }
            }
        }
    }

    /// How many shapes have a graph.
    pub fn graphs(&self) -> usize {
        self.0.values().filter(|recorded| matches!(recorded, Recorded::Graph { .. })).count()
    }
}

/// What `work` launches, as a graph, and the tables that it reads; nothing runs yet.
fn capture(context: &Context, mut work: impl FnMut() -> Result<()>) -> Option<(CudaGraph, Vec<Table>)> {
    context.in_turn(|| {
        let capture = Capture::begin(&context.stream)?;
        let (result, tables) = context.collecting(&mut work);
        let graph = capture.end();
        result.ok()?;
        Some((graph?, tables))
    })
}

/// A capture under way. It is ended whatever happens, or the stream would stay in capture: dropped by a panic, it throws
/// its graph away.
struct Capture<'a>(&'a Arc<CudaStream>);

impl<'a> Capture<'a> {
    fn begin(stream: &'a Arc<CudaStream>) -> Option<Self> {
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).ok()?;
        Some(Self(stream))
    }

    fn end(self) -> Option<CudaGraph> {
        std::mem::ManuallyDrop::new(self).0.end_capture(CUgraphInstantiate_flags(0)).ok()?
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        let _ = self.0.end_capture(CUgraphInstantiate_flags(0));
    }
}
