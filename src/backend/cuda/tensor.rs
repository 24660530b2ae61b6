//! Tensors in a GPU's memory.

use super::context::Context;
use super::device::Device;
use super::element::Element;
use super::handles::Memory;
use super::tensor_map::{Boxed, TensorMap};
use crate::backend::{Pending, Precision, Shape, Shaped};
use crate::error::{Error, Result};
use half::f16;

/// A row-major matrix in the GPU's memory: the tensor of the [`Cuda`](super::Cuda) backend. Its elements are f32, or
/// f16 in an [activation](crate::backend::Backend::activation) of that precision.
#[derive(Debug)]
pub struct CudaTensor {
    shape: Shape,
    pub(super) element: Element,
    pub(super) memory: Memory,
}

impl CudaTensor {
    pub(super) fn allocate(context: &Context, shape: Shape) -> Result<Self> {
        let memory = context.zeros(bytes(shape, Element::F32)?)?;
        Ok(Self { shape, element: Element::F32, memory })
    }

    pub(super) fn activation(context: &Context, precision: Precision) -> Result<Self> {
        let element = if precision == Precision::F16 { Element::F16 } else { Element::F32 };
        Ok(Self { shape: Shape::new(0, 0), element, memory: context.memory(0)? })
    }

    pub(super) fn upload(context: &Context, shape: Shape, data: &[f32]) -> Result<Self> {
        if data.len() != shape.len() {
            return Err(Error::argument("upload data", format!("{} elements", data.len()), format!("{shape}")));
        }
        Ok(Self { shape, element: Element::F32, memory: context.upload(data)? })
    }

    pub(super) fn download_later<'d, const N: usize>(
        context: &'d Context,
        tensors: [&Self; N],
    ) -> Result<Pending<'d, [Vec<f32>; N]>> {
        let mut sizes = [0; N];
        for (size, tensor) in sizes.iter_mut().zip(tensors) {
            *size = bytes(tensor.shape, tensor.element)?;
        }
        let found = context.download_later(tensors.map(|tensor| &tensor.memory), sizes)?;
        let layouts = tensors.map(|tensor| (tensor.element, tensor.shape.cols));
        Ok(Pending::new(move || {
            let mut layouts = layouts.into_iter();
            found
                .wait()
                .map(|all| all.map(|bytes| layouts.next().map_or_else(Vec::new, |layout| widen(layout, &bytes))))
        }))
    }

    pub(super) fn reshape(&mut self, context: &Context, shape: Shape) -> Result<()> {
        let bytes = bytes(shape, self.element)?;
        if bytes > self.memory.bytes {
            // The old memory is freed first, so that both need not fit.
            self.shape = Shape::new(0, 0);
            context.note_move();
            self.memory = context.memory(0)?;
            self.memory = context.memory(bytes)?;
        }
        self.shape = shape;
        Ok(())
    }

    /// Leading dimension: elements from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.element.stride(self.shape.cols)
    }

    /// The tensor as TMA knows it, in boxes of `size` rows and columns.
    ///
    /// # Errors
    /// As [`TensorMap::new`].
    pub(super) fn map(&self, device: &Device, size: [usize; 2]) -> Result<TensorMap> {
        let Shape { rows, cols } = self.shape;
        let boxed = Boxed { element: self.element, rows, cols, stride: self.stride(), size };
        TensorMap::new(device, self.memory.address, boxed)
    }

    /// Bytes of the elements, without padding.
    pub(super) fn bytes(&self) -> u64 {
        (self.shape.len() * self.element.bytes()) as u64
    }

    /// The memory of a tensor that must be f32.
    pub(super) fn f32(&self, name: &str) -> Result<&Memory> {
        match self.element {
            Element::F32 => Ok(&self.memory),
            Element::F16 => Err(Error::argument(name, "an activation in f16", "a tensor in f32")),
        }
    }
}

impl Shaped for CudaTensor {
    fn shape(&self) -> Shape {
        self.shape
    }
}

/// The elements in `bytes` as f32, without the rows' padding.
fn widen((element, cols): (Element, usize), bytes: &[u8]) -> Vec<f32> {
    match element {
        Element::F32 => bytemuck::pod_collect_to_vec(bytes),
        Element::F16 => {
            let halves: Vec<f16> = bytemuck::pod_collect_to_vec(bytes);
            let rows = halves.chunks_exact(element.stride(cols).max(1));
            rows.flat_map(|row| &row[..cols]).map(|x| x.to_f32()).collect()
        }
    }
}

fn bytes(shape: Shape, element: Element) -> Result<usize> {
    // An absurd shape must fail here instead of overflowing.
    let stride = shape.cols.checked_next_multiple_of(8).map(|_| element.stride(shape.cols));
    let bytes = stride.and_then(|stride| shape.rows.checked_mul(stride)?.checked_mul(element.bytes()));
    bytes.ok_or_else(|| Error::argument("tensor", format!("shape {shape}"), "one that fits in memory"))
}
