//! `weighted_similarity`: WCA's scores.
//!
//! The weighted mean reduces similarities tile by tile, while the registers hold them; the best `k` are selected from a
//! block of views' similarities with one class. A task owns whole classes; a panel that has texts of two tasks is
//! multiplied by both.

use super::Cpu;
use super::grid::{cuts, for_each_tile};
use super::packed_weights::{CpuLinear, Left, Rounded};
use super::simd::{Simd, SimdTask};
use super::tile::{Store, TileSink};
use crate::backend::args::{Checked, WeightedSimilarityArgs};
use crate::backend::{Reduction, Shaped};
use crate::error::Result;
use std::ops::Range;

/// About the fewest texts of a task: several panels, so that sharing those at its edges costs little.
const TEXT_BLOCK: usize = 512;
/// Tasks for each thread, if there are enough texts.
const TASKS_PER_THREAD: usize = 8;

pub(super) fn run(cpu: &Cpu, args: Checked<WeightedSimilarityArgs<'_, Cpu>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, pictures, classes, reduction, out } =
        args.into_inner();
    let cols = out.shape().cols;
    let (view_weights, text_weights) = (view_weights.row(0), text_weights.row(0));
    cpu.install(|| {
        let mut rounded = Rounded::default();
        let views = texts.whole_left(views, &mut rounded);
        let block = (texts.shape().rows / (TASKS_PER_THREAD * cpu.threads())).max(TEXT_BLOCK);
        for_each_tile(
            out.data_mut(),
            cols,
            &cuts(pictures.len() - 1, 1),
            &class_cuts(classes, block),
            Vec::new,
            |similarities, picture, _, mut tile| {
                let offsets = &classes[tile.cols.start..=tile.cols.end];
                let own = pictures[picture] as usize..pictures[picture + 1] as usize;
                let scores = tile.row(picture);
                let block = Block { views, own, view_weights, texts, text_weights, offsets, scores, similarities };
                match reduction {
                    Reduction::WeightedMean => texts.level.dispatch(Mean(block)),
                    Reduction::BestMean(k) => texts.level.dispatch(Best(block, k)),
                }
            },
        );
    });
    Ok(())
}

/// Cuts the classes so that each task has about `block` texts.
fn class_cuts(classes: &[u32], block: usize) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut first = 0;
    for (class, &end) in classes.iter().enumerate().skip(1) {
        if (end - first) as usize >= block || class + 1 == classes.len() {
            cuts.push(class);
            first = end;
        }
    }
    cuts
}

/// One task: some classes of a picture.
struct Block<'a> {
    views: Left<'a>,
    /// The views of the task's picture.
    own: Range<usize>,
    view_weights: &'a [f32],
    texts: &'a CpuLinear,
    text_weights: &'a [f32],
    /// Bounds of the task's classes among all texts.
    offsets: &'a [u32],
    scores: &'a mut [f32],
    similarities: &'a mut Vec<f32>,
}

impl Block<'_> {
    /// The panels that hold a range of texts.
    #[inline(always)]
    fn panels(&self, from: u32, to: u32, width: usize) -> Range<usize> {
        from as usize / width..(to as usize).div_ceil(width)
    }
}

/// `Σᵢ wᵢ Σⱼ vⱼ sᵢⱼ`: sums over the views first, then adds each panel's texts to their classes.
struct Mean<'a>(Block<'a>);

impl SimdTask for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let block = self.0;
        let depth = block.texts.shape().cols;
        let width = S::TILE_VECTORS * S::LANES;
        let last = block.offsets.len() - 1;
        block.scores.fill(0.0);
        let mut class = 0;
        for panel in block.panels(block.offsets[0], block.offsets[last], width) {
            let mut sums = [0.0; 64];
            let weights = &block.view_weights[block.own.clone()];
            let mut sink = WeighViews { s, weights, sums: &mut sums };
            block.texts.multiply(s, block.views, block.own.clone(), panel, 0..depth, &mut sink);
            for (text, sum) in (panel * width..).zip(&sums[..width]) {
                if text < block.offsets[0] as usize || text >= block.offsets[last] as usize {
                    continue; // a text of another task, or padding
                }
                while text >= block.offsets[class + 1] as usize {
                    class += 1;
                }
                block.scores[class] += block.text_weights[text] * sum;
            }
        }
    }
}

/// Adds `wᵢ sᵢⱼ` over the views to each text's sum.
struct WeighViews<'a, S> {
    s: S,
    weights: &'a [f32],
    sums: &'a mut [f32; 64],
}

impl<S: Simd> TileSink<S> for WeighViews<'_, S> {
    #[inline(always)]
    fn finish<const NV: usize>(&mut self, row: usize, sums: [S::F; NV]) {
        let s = self.s;
        let weight = s.splat(self.weights[row]);
        let mut weighted: [S::F; NV] = s.load_row(self.sums);
        for v in 0..NV {
            weighted[v] = s.mul_add(weight, sums[v], weighted[v]);
        }
        s.store_row(weighted, self.sums);
    }
}

/// The mean over the best `k` texts: computes the similarities of a block of views with one class, then selects for
/// each view.
struct Best<'a>(Block<'a>, usize);

impl SimdTask for Best<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(block, k) = self;
        let mut similarities = std::mem::take(block.similarities);
        let depth = block.texts.shape().cols;
        let width = S::TILE_VECTORS * S::LANES;
        for class in 0..block.offsets.len() - 1 {
            let (from, to) = (block.offsets[class], block.offsets[class + 1]);
            let panels = block.panels(from, to, width);
            let stride = panels.len() * width;
            similarities.resize(S::ROW_BLOCK * stride, 0.0);
            let mut score = 0.0;
            for first in block.own.clone().step_by(S::ROW_BLOCK) {
                let views = first..block.own.end.min(first + S::ROW_BLOCK);
                for panel in panels.clone() {
                    let column = (panel - panels.start) * width;
                    let mut sink = Store { s, rows: &mut similarities, stride, column };
                    block.texts.multiply(s, block.views, views.clone(), panel, 0..depth, &mut sink);
                }
                for (view, row) in views.zip(similarities.chunks_exact(stride.max(1))) {
                    let row = &row[from as usize - panels.start * width..][..(to - from) as usize];
                    let weights = &block.text_weights[from as usize..to as usize];
                    score += block.view_weights[view] * best_mean(row, weights, k);
                }
            }
            block.scores[class] = score;
        }
        *block.similarities = similarities;
    }
}

/// `Σ vⱼ sⱼ / Σ vⱼ` over the `k` largest `sⱼ` whose weight is not 0.
fn best_mean(similarities: &[f32], weights: &[f32], k: usize) -> f32 {
    let mut best: Vec<usize> = (0..similarities.len()).filter(|&j| weights[j] != 0.0).collect();
    let key = |j: usize| similarities[j] + 0.0; // −0 and 0 are a tie
    let better = |&a: &usize, &b: &usize| key(b).total_cmp(&key(a)).then(a.cmp(&b));
    if k < best.len() {
        best.select_nth_unstable_by(k, better);
        best.truncate(k);
    }
    best.sort_unstable(); // one order of summation, whatever the selection left
    let sum = |f: &dyn Fn(usize) -> f32| best.iter().map(|&j| f(j)).sum::<f32>();
    if best.is_empty() { 0.0 } else { sum(&|j| weights[j] * similarities[j]) / sum(&|j| weights[j]) }
}
