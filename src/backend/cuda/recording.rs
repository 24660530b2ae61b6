//! Sequences of launches as CUDA graphs: the driver submits a graph at once.

use super::context::{Context, Table};
use super::handles::{Graph, Stream};
use crate::error::Result;

/// The graphs of a sequence, by the shape of its batch: those that ran last, the last one at the end.
#[derive(Default)]
pub struct CudaRecording(Vec<(usize, Recorded)>);

/// Graphs that are kept, the last used ones. A shape is captured when it comes for the second time; what comes once, as the last
/// batch of a call, runs as launches.
const SHAPES: usize = 16;

/// What is known of one shape.
enum Recorded {
    /// It ran once: the tensors have their sizes, and the tables are on the device.
    Ran,
    Graph {
        graph: Graph,
        /// [`Context::moved`] when it was captured: it holds pointers.
        moved: u64,
        /// What it reads besides tensors: kept as long as it is.
        tables: Vec<Table>,
    },
}

impl std::fmt::Debug for CudaRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(shape, _)| shape)).finish()
    }
}

impl CudaRecording {
    /// Runs `work`: as it is the first time of a shape, captured as a graph the second time, as that graph from then on.
    pub(super) fn record_or_replay(
        &mut self,
        context: &Context,
        key: usize,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        // A profile wants every launch.
        if context.is_profiling() {
            return work();
        }
        let launch = |graph: &Graph| context.locked(|| context.stream.launch_graph(graph));
        // Forgotten should it fail; it then runs as if for the first time.
        let known = self.0.iter().position(|(shape, _)| *shape == key).map(|at| self.0.remove(at).1);
        let recorded = match known {
            None => {
                work()?;
                Recorded::Ran
            }
            Some(Recorded::Graph { graph, moved, tables }) if moved == context.moved() => {
                context.without_launches(work)?;
                launch(&graph)?;
                Recorded::Graph { graph, moved, tables }
            }
            Some(_) => match capture(context, &mut work) {
                Some((graph, tables)) => {
                    launch(&graph)?;
                    Recorded::Graph { graph, moved: context.moved(), tables }
                }
                // A table that has to be uploaded first, say.
                None => {
                    work()?;
                    Recorded::Ran
                }
            },
        };
        if self.0.len() == SHAPES {
            self.0.remove(0);
        }
        self.0.push((key, recorded));
        Ok(())
    }

    /// How many shapes have a graph.
    pub fn graphs(&self) -> usize {
        self.0.iter().filter(|(_, recorded)| matches!(recorded, Recorded::Graph { .. })).count()
    }
}

/// What `work` launches, as a graph, and the tables that it reads; nothing runs yet.
fn capture(context: &Context, mut work: impl FnMut() -> Result<()>) -> Option<(Graph, Vec<Table>)> {
    context.locked(|| {
        let capture = Capture::begin(&context.stream)?;
        let (result, tables) = context.collecting(&mut work);
        let graph = capture.end();
        result.ok()?;
        Some((graph?, tables))
    })
}

/// A capture under way. It is ended whatever happens, or the stream would stay in capture: dropped by a panic, it throws
/// its graph away.
struct Capture<'a>(&'a Stream);

impl<'a> Capture<'a> {
    fn begin(stream: &'a Stream) -> Option<Self> {
        stream.begin_capture().ok()?;
        Some(Self(stream))
    }

    fn end(self) -> Option<Graph> {
        std::mem::ManuallyDrop::new(self).0.end_capture().ok()
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        let _ = self.0.end_capture();
    }
}
