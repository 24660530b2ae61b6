//! One kernel alone: cosines of rows with rows by `l2_normalize` and `linear`, on any backend.
//!
//! `cargo run --example one_kernel`

use crossalign::backend::args::{L2NormalizeArgs, LinearArgs};
use crossalign::backend::{Backend, Cpu, Epilogue, Precision, Reference, Shape};

/// `[rows, others]`: the cosine of each row with each of the others, all of `width` elements.
fn cosines<B: Backend>(backend: &B, rows: &[f32], others: &[f32], width: usize) -> crossalign::Result<Vec<f32>> {
    let (rows_shape, others_shape) = (Shape::new(rows.len() / width, width), Shape::new(others.len() / width, width));
    let mut rows = backend.upload(rows_shape, rows)?;
    backend.l2_normalize(L2NormalizeArgs { tensor: &mut rows })?;
    let mut others = backend.upload(others_shape, others)?;
    backend.l2_normalize(L2NormalizeArgs { tensor: &mut others })?;

    // The right-hand matrix of a product is packed for the device's kernel.
    let layer = backend.pack(others_shape, &backend.download(&others)?, None, Precision::F32)?;
    let mut out = backend.allocate(Shape::new(rows_shape.rows, others_shape.rows))?;
    backend.linear(LinearArgs { input: &rows, layer: &layer, epilogue: Epilogue::Store, out: &mut out })?;
    backend.download(&out)
}

fn main() -> crossalign::Result<()> {
    let (rows, others) = ([3.0, 4.0, 1.0, 0.0], [1.0, 0.0, 0.0, 2.0, 1.0, 1.0]);
    // `Cuda::new(0)` and `Wgpu::new(None)` go here as well.
    for found in [cosines(&Cpu::new(0)?, &rows, &others, 2)?, cosines(&Reference, &rows, &others, 2)?] {
        println!("{found:.4?}");
    }
    Ok(())
}
