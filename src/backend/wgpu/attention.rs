//! `attention`: softmax(q kᵀ / √d) v, 8 queries of a sequence and one head a workgroup.

use super::pipeline::kernels::attention::{KERNEL, KEYS, QUERIES};
use super::queue::{Queue, Slice};
use super::tensor::{WgpuTensor, rows_at_once, segment_batches};
use crate::backend::{Shaped, Work, contract};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    items: u32,
    width: u32,
    head_dim: u32,
    causal: u32,
    scale: f32,
    queries_base: u32,
    keys_values_base: u32,
    out_base: u32,
}

#[expect(clippy::too_many_arguments, reason = "the trait's parameters and the queue")]
pub(super) fn run(
    queue: &Queue,
    queries: &WgpuTensor,
    keys_values: &WgpuTensor,
    query_offsets: &[u32],
    key_offsets: &[u32],
    heads: usize,
    causal: bool,
    out: &mut WgpuTensor,
) -> Result<()> {
    contract::attention(queries.shape(), keys_values.shape(), query_offsets, key_offsets, heads, out.shape())?;
    let width = queries.shape().cols;
    let head_dim = width / heads;
    let (most_queries, most_keys) = (rows_at_once(queue, &[width]), rows_at_once(queue, &[2 * width]));
    for sequences in segment_batches(&[(query_offsets, most_queries), (key_offsets, most_keys)]) {
        let span = |offsets: &[u32]| offsets[sequences.start] as usize..offsets[sequences.end] as usize;
        let (rows, keys) = (span(query_offsets), span(key_offsets));
        let items = items(
            &query_offsets[sequences.start..=sequences.end],
            &key_offsets[sequences.start..=sequences.end],
            causal,
        );
        if items.is_empty() {
            continue;
        }
        let uploaded = queue.upload(&items)?;
        let list = Slice::all(&uploaded);
        let queries = queries.window(queue, "attention queries", rows.clone())?;
        let keys_values = keys_values.window(queue, "attention keys and values", keys.clone())?;
        let out = out.window(queue, "attention output", rows.clone())?;
        let params = Params {
            items: items.len() as u32,
            width: width as u32,
            head_dim: head_dim as u32,
            causal: u32::from(causal),
            scale: 1.0 / (head_dim as f32).sqrt(),
            queries_base: queries.base,
            keys_values_base: keys_values.base,
            out_base: out.base,
        };
        // An invocation has one column of the head: wider ones take several workgroups.
        let [x, y, _] = Queue::groups(items.len());
        let groups = [x, y, (heads * head_dim.div_ceil(KEYS as usize)) as u32];
        let bindings = [queries.slice, keys_values.slice, list, out.slice];
        let work = Work::words(2 * (rows.len() + keys.len()) * width, 4 * width * scores(&items, causal));
        queue.record(&KERNEL, &[], &params, &bindings, groups, work)?;
    }
    Ok(())
}

/// A workgroup's queries: their first row and number, the first key's row, and how many keys the first query sees.
/// Rows are counted from the first of these sequences.
fn items(query_offsets: &[u32], key_offsets: &[u32], causal: bool) -> Vec<[u32; 4]> {
    let mut items = Vec::new();
    for (q, k) in query_offsets.windows(2).zip(key_offsets.windows(2)) {
        let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
        for first in (0..queries).step_by(QUERIES as usize) {
            let visible = if causal { keys - queries + first + 1 } else { keys };
            let count = (queries - first).min(QUERIES);
            items.push([q[0] - query_offsets[0] + first, count, k[0] - key_offsets[0], visible]);
        }
    }
    items
}

/// Pairs of a query and a key that it sees, in all.
fn scores(items: &[[u32; 4]], causal: bool) -> usize {
    let pairs = |&[_, count, _, visible]: &[u32; 4]| {
        let (count, visible) = (count as usize, visible as usize);
        count * visible + if causal { count * count.saturating_sub(1) / 2 } else { 0 }
    };
    items.iter().map(pairs).sum()
}
