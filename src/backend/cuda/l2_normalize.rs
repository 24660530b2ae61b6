//! `l2_normalize`: each row to length 1.

use super::context::Context;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{Checked, L2NormalizeArgs};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    rows: u32,
    width: u32,
}

pub(super) fn run(context: &Context, args: Checked<L2NormalizeArgs<'_, Cuda>>) -> Result<()> {
    let L2NormalizeArgs { tensor } = args.into_inner();
    let shape = tensor.shape();
    let params = Params { rows: shape.rows as u32, width: shape.cols as u32 };
    let memories = [tensor.f32("l2_normalize tensor")?];
    let work = Work { bytes: 2 * tensor.bytes(), flops: 3 * shape.len() as u64 };
    context.launch("l2_normalize", &params, &memories, Launch::rows(shape.rows), work)
}
