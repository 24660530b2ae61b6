//! `attention`: softmax(q kᵀ / √d) v, one sequence and one head at a time.

use super::linear::dot;
use crate::backend::args::{AttentionArgs, Checked};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

/// `softmax` in place, shifted by the maximum so that nothing overflows.
pub(super) fn softmax(logits: &mut [f64]) {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
}

pub(super) fn run(_: &Reference, args: Checked<AttentionArgs<'_, Reference>>) -> Result<()> {
    let AttentionArgs { queries, keys_values, query_offsets, key_offsets, heads, causal, out } = args.into_inner();
    let width = queries.shape().cols;
    let dim = width / heads;
    for (q, k) in query_offsets.windows(2).zip(key_offsets.windows(2)) {
        let (query_rows, key_rows) = (q[0] as usize..q[1] as usize, k[0] as usize..k[1] as usize);
        for head in 0..heads {
            let columns = head * dim..(head + 1) * dim;
            for row in query_rows.clone() {
                let unseen = if causal { query_rows.end - 1 - row } else { 0 };
                let seen = key_rows.start..key_rows.end - unseen;
                let query = &queries.row(row)[columns.clone()];
                let mut weights: Vec<f64> = seen
                    .clone()
                    .map(|key| dot(query, &keys_values.row(key)[columns.clone()]) / (dim as f64).sqrt())
                    .collect();
                softmax(&mut weights);
                for col in columns.clone() {
                    let value = |key: usize| f64::from(keys_values.row(key)[width + col]);
                    let sum: f64 = seen.clone().zip(&weights).map(|(key, w)| w * value(key)).sum();
                    out.row_mut(row)[col] = sum as f32;
                }
            }
        }
    }
    Ok(())
}
