//! Tensors in the GPU's memory, and the windows of them that are bound.

use super::queue::{Queue, VECTOR};
use crate::backend::{Pending, Shape, Shaped};
use crate::error::{Error, Result};
use std::ops::Range;

/// A row-major f32 matrix in the GPU's memory: the tensor of the [`Wgpu`](super::Wgpu) backend.
#[derive(Debug)]
pub struct WgpuTensor {
    shape: Shape,
    pub(super) buffer: wgpu::Buffer,
}

/// Some rows of a buffer as one binding. It starts at an offset that the device allows, at or before the first row.
pub(super) struct Window<'a> {
    pub(super) slice: wgpu::BufferSlice<'a>,
    /// Where the rows begin in the binding, in elements.
    pub(super) base: u32,
}

impl WgpuTensor {
    pub(super) fn allocate(queue: &Queue, shape: Shape) -> Result<Self> {
        Ok(Self { shape, buffer: queue.buffer(bytes(shape)?)? })
    }

    pub(super) fn upload(queue: &Queue, shape: Shape, data: &[f32]) -> Result<Self> {
        if data.len() != shape.len() {
            return Err(Error::argument("upload data", format!("{} elements", data.len()), format!("{shape}")));
        }
        Ok(Self { shape, buffer: queue.upload(data)? })
    }

    pub(super) fn download_later<'d, const N: usize>(
        queue: &'d Queue,
        tensors: [&Self; N],
    ) -> Result<Pending<'d, [Vec<f32>; N]>> {
        let sizes = tensors.map(|tensor| 4 * tensor.shape.len() as u64);
        let bytes = queue.read(tensors.map(|tensor| &tensor.buffer), sizes)?;
        Ok(bytes.map(|all| all.map(|bytes| bytemuck::pod_collect_to_vec(&bytes))))
    }

    pub(super) fn reshape(&mut self, queue: &Queue, shape: Shape) -> Result<()> {
        if bytes(shape)? > self.buffer.size() {
            // The old memory is freed first, so that both need not fit.
            self.shape = Shape::new(0, 0);
            self.buffer = queue.buffer(0)?;
            self.buffer = queue.buffer(bytes(shape)?)?;
        }
        self.shape = shape;
        Ok(())
    }

    /// A window of these rows; an error with the tensor's name if they are too many for a binding.
    pub(super) fn window(&self, queue: &Queue, name: &str, rows: Range<usize>) -> Result<Window<'_>> {
        window(queue, name, &self.buffer, self.shape.cols, rows)
    }

    /// All rows as one binding.
    pub(super) fn whole(&self, queue: &Queue, name: &str) -> Result<wgpu::BufferSlice<'_>> {
        Ok(self.window(queue, name, 0..self.shape.rows)?.slice)
    }
}

impl Shaped for WgpuTensor {
    fn shape(&self) -> Shape {
        self.shape
    }
}

/// A window of rows of `width` words.
pub(super) fn window<'a>(
    queue: &Queue,
    name: &str,
    buffer: &'a wgpu::Buffer,
    width: usize,
    rows: Range<usize>,
) -> Result<Window<'a>> {
    let (start, end) = ((rows.start * width * 4) as u64, (rows.end * width * 4) as u64);
    let offset = start / queue.alignment * queue.alignment;
    let size = (end - offset).next_multiple_of(VECTOR).max(VECTOR);
    if size > queue.max_binding {
        let found = format!("{} rows of {width}, {size} bytes", rows.len());
        return Err(Error::argument(name, found, format!("at most {} bytes at a time", queue.max_binding)));
    }
    Ok(Window { slice: buffer.slice(offset..offset + size), base: ((start - offset) / 4) as u32 })
}

/// How many rows a dispatch may take if each has `widths` words in the operands' bindings; at least 1.
pub(super) fn rows_at_once(queue: &Queue, widths: &[usize]) -> usize {
    let widest = widths.iter().copied().max().unwrap_or(0).max(1);
    // Up to one alignment unit is lost at the binding's start.
    let room = queue.max_binding.saturating_sub(queue.alignment) / 4;
    (room as usize / widest).clamp(1, u32::MAX as usize / widest)
}

/// The ranges of up to `step` that make up `0 .. total`.
pub(super) fn chunks(total: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total).step_by(step).map(move |start| start..total.min(start + step))
}

/// Ranges of consecutive segments: for each pair of offsets and a limit, a range has at most that many rows. A segment
/// above the limit has a range to itself, except for empty segments behind it.
pub(super) fn segment_batches(limits: &[(&[u32], usize)]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    for segment in 0..limits[0].0.len() - 1 {
        let fits = |start: usize| {
            limits.iter().all(|(o, most)| o[segment + 1] == o[segment] || (o[segment + 1] - o[start]) as usize <= *most)
        };
        match batches.last_mut() {
            Some(batch) if fits(batch.start) => batch.end = segment + 1,
            _ => batches.push(segment..segment + 1),
        }
    }
    batches
}

fn bytes(shape: Shape) -> Result<u64> {
    // An absurd shape must fail here instead of overflowing.
    match shape.len().checked_mul(4) {
        Some(bytes) if shape.len() < usize::MAX => Ok(bytes as u64),
        _ => Err(Error::argument("tensor", format!("shape {shape}"), "one that fits in memory")),
    }
}
