//! `l2_normalize`: each row to length 1.

use super::linear::dot;
use crate::backend::args::{Checked, L2NormalizeArgs};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<L2NormalizeArgs<'_, Reference>>) -> Result<()> {
    let L2NormalizeArgs { tensor } = args.into_inner();
    for row in 0..tensor.shape().rows {
        let x = tensor.row_mut(row);
        let length = dot(x, x).sqrt().max(1e-12);
        x.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    Ok(())
}
