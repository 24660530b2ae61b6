//! A tensor in the process's own memory.

use super::huge_pages::Pages;
use super::{Shape, Shaped};
use crate::error::{Error, Result};

/// A row-major f32 matrix in the process's memory: the tensor of the [`Reference`](super::Reference) and the
/// [`Cpu`](super::Cpu) backend.
#[derive(Clone, Debug)]
pub struct HostTensor {
    shape: Shape,
    data: Pages<f32>,
}

impl HostTensor {
    pub(crate) fn allocate(shape: Shape) -> Result<Self> {
        let mut tensor = Self { shape: Shape::new(0, 0), data: Pages::default() };
        tensor.reshape(shape)?;
        Ok(tensor)
    }

    pub(crate) fn upload(shape: Shape, data: &[f32]) -> Result<Self> {
        if data.len() != shape.len() {
            return Err(Error::argument("upload data", format!("{} elements", data.len()), format!("{shape}")));
        }
        let mut tensor = Self::allocate(shape)?;
        tensor.data.copy_from_slice(data);
        Ok(tensor)
    }

    pub(crate) fn reshape(&mut self, shape: Shape) -> Result<()> {
        if !self.data.try_resize(shape.len()) {
            return Err(Error::argument("tensor", format!("shape {shape}"), "one that fits in memory"));
        }
        self.shape = shape;
        Ok(())
    }

    /// All elements, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// One row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.shape.cols..][..self.shape.cols]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.shape.cols..][..self.shape.cols]
    }
}

impl Shaped for HostTensor {
    fn shape(&self) -> Shape {
        self.shape
    }
}

/// The memory methods of a [`Backend`](super::Backend) that computes on the host.
macro_rules! host_memory {
    () => {
        type Tensor = $crate::backend::HostTensor;
        type Picture<'p> = $crate::backend::Rgb<'p>;
        type Recording = ();

        fn is_host(&self) -> bool {
            true
        }

        fn allocate(&self, shape: Shape) -> Result<Self::Tensor> {
            Self::Tensor::allocate(shape)
        }

        fn upload(&self, shape: Shape, data: &[f32]) -> Result<Self::Tensor> {
            Self::Tensor::upload(shape, data)
        }

        fn upload_picture<'p>(&self, picture: $crate::backend::Rgb<'p>) -> Result<Self::Picture<'p>> {
            Ok(picture)
        }

        fn download_later<const N: usize>(
            &self,
            tensors: [&Self::Tensor; N],
        ) -> Result<$crate::backend::Pending<'_, [Vec<f32>; N]>> {
            Ok($crate::backend::Pending::ready(tensors.map(|tensor| tensor.data().to_vec())))
        }

        fn reshape(&self, tensor: &mut Self::Tensor, shape: Shape) -> Result<()> {
            tensor.reshape(shape)
        }
    };
}
pub(super) use host_memory;
