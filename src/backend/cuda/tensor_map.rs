//! Tensor maps: what TMA knows of a matrix.

use super::device::Device;
use super::element::Element;
use crate::error::Result;
use cudarc::driver::sys::CUtensorMapDataType::{CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_FLOAT32};
use cudarc::driver::sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
use cudarc::driver::sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE;
use cudarc::driver::sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
use cudarc::driver::sys::CUtensorMapSwizzle::{CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_SWIZZLE_NONE};
use cudarc::driver::sys::{CUdeviceptr, CUtensorMap};
use std::ffi::c_void;

/// Bytes of a row of a box in the widest swizzle; boxes with narrower rows are not swizzled.
const SWIZZLED: usize = 128;

/// A row-major matrix in memory, and the box of it that one TMA instruction moves.
#[derive(Clone, Copy)]
pub(super) struct Boxed {
    pub(super) element: Element,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Leading dimension: elements from one row to the next.
    pub(super) stride: usize,
    /// Rows and columns of a box.
    pub(super) size: [usize; 2],
}

/// A matrix as TMA knows it, a parameter of kernels: `CUtensorMap`, aligned as the driver asks.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable)]
pub(super) struct TensorMap {
    opaque: [u64; 16],
}

const _: () = assert!(size_of::<TensorMap>() == size_of::<CUtensorMap>());

impl TensorMap {
    /// A map for kernels that do not use it.
    pub(super) const UNUSED: Self = Self { opaque: [0; 16] };

    /// The parameter, as launches take it.
    pub(super) fn argument(&self) -> *mut c_void {
        self.opaque.as_ptr().cast_mut().cast()
    }

    /// Encodes the map of the matrix at an address.
    ///
    /// # Errors
    /// When the driver has no such function, or refuses: for instance rows that do not begin at multiples of 16 bytes.
    pub(super) fn new(device: &Device, address: CUdeviceptr, matrix: Boxed) -> Result<Self> {
        let Boxed { element, rows, cols, stride, size: [box_rows, box_cols] } = matrix;
        let Some(encode) = device.functions().cuTensorMapEncodeTiled else {
            return Err(device.error("the driver has no function cuTensorMapEncodeTiled"));
        };
        let swizzled = box_cols * element.bytes() == SWIZZLED;
        let sizes = [cols as u64, rows as u64];
        let strides = [(stride * element.bytes()) as u64];
        let boxes = [box_cols as u32, box_rows as u32];
        device.ask(|_, map: *mut Self| {
            // SAFETY: the arrays have as many elements as the rank, 2, asks for (the innermost stride is the element's own);
            // the driver writes a map, and does not read the matrix.
            unsafe {
                encode(
                    map.cast(),
                    match element {
                        Element::F32 => CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
                        Element::F16 => CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                    },
                    2,
                    address as *mut c_void,
                    sizes.as_ptr(),
                    strides.as_ptr(),
                    boxes.as_ptr(),
                    [1, 1].as_ptr(),
                    CU_TENSOR_MAP_INTERLEAVE_NONE,
                    if swizzled { CU_TENSOR_MAP_SWIZZLE_128B } else { CU_TENSOR_MAP_SWIZZLE_NONE },
                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
                )
            }
        })
    }
}
