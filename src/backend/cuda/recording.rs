//! Sequences of launches as CUDA graphs, each of which the driver submits in one call.

use super::context::{Context, Table};
use super::handles::{Graph, Stream};
use crate::error::Result;

/// The graphs of a sequence, by the shape of its batch, the most recently used at the end.
#[derive(Default)]
pub struct CudaRecording(Vec<(usize, Recorded)>);

/// How many shapes are kept, the most recently used ones. A shape is captured when it comes for the second time, since
/// one that comes only once, as the last batch of a call, is not worth a graph.
const SHAPES: usize = 16;

/// The state of one shape.
enum Recorded {
    /// It ran once without a graph: now the tensors have their sizes, and the tables are on the device.
    Ran,
    Graph {
        graph: Graph,
        /// [`Context::moved`] at capture: the graph holds pointers, which are stale once a tensor has moved.
        moved: u64,
        /// Tables that the graph reads, kept alive as long as it is.
        tables: Vec<Table>,
    },
}

impl std::fmt::Debug for CudaRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(shape, _)| shape)).finish()
    }
}

impl CudaRecording {
    /// Runs `work`: the first time for a shape as launches, the second time captured as a graph, from then on as that
    /// graph.
    pub(super) fn record_or_replay(
        &mut self,
        context: &Context,
        key: usize,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        // A profile needs separate launches.
        if context.is_profiling() {
            return work();
        }
        let launch = |graph: &Graph| context.locked(|| context.stream.launch_graph(graph));
        // Removed, so that after a failure the shape starts over.
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
                // The capture failed, for example because a table had to be uploaded first.
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

/// Captures what `work` launches as a graph, without running it, and collects the tables that it reads.
fn capture(context: &Context, mut work: impl FnMut() -> Result<()>) -> Option<(Graph, Vec<Table>)> {
    context.locked(|| {
        let capture = Capture::begin(&context.stream)?;
        let (result, tables) = context.collecting(&mut work);
        let graph = capture.end();
        result.ok()?;
        Some((graph?, tables))
    })
}

/// A capture under way. Dropping it, as in a panic, ends the capture and discards the graph: otherwise the stream would
/// stay in capture mode.
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
