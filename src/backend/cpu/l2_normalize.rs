//! `l2_normalize`: each row to length 1.

use super::Cpu;
use super::math::dot;
use super::simd::{Simd, SimdTask};
use crate::backend::Shaped;
use crate::backend::args::{Checked, L2NormalizeArgs};
use crate::error::Result;

pub(super) fn run(cpu: &Cpu, args: Checked<L2NormalizeArgs<'_, Cpu>>) -> Result<()> {
    let L2NormalizeArgs { tensor } = args.into_inner();
    for row in 0..tensor.shape().rows {
        cpu.level.dispatch(Row(tensor.row_mut(row)));
    }
    Ok(())
}

struct Row<'a>(&'a mut [f32]);

impl SimdTask for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let length = dot(s, self.0, self.0).sqrt().max(1e-12);
        self.0.iter_mut().for_each(|x| *x /= length);
    }
}
