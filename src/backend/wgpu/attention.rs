//! `attention`: softmax(q kᵀ / √d) v, one workgroup for 64 queries of a sequence and one head.

use super::pipeline::kernels::attention::{COLUMNS, KERNEL, Params, QUERIES};
use super::queue::Queue;
use super::tensor::{rows_at_once, segment_batches};
use crate::backend::args::{AttentionArgs, Checked};
use crate::backend::gpu::attention::{attention_items, attention_pairs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<AttentionArgs<'_, Wgpu>>) -> Result<()> {
    let AttentionArgs { queries, keys_values, query_offsets, key_offsets, heads, causal, out } = args.into_inner();
    let width = queries.shape().cols;
    let head_dim = width / heads;
    let longest = key_offsets.windows(2).map(|keys| (keys[1] - keys[0]) as usize).max().unwrap_or(0);
    let most_queries = rows_at_once(queue, &[width]).min(queue.at_once(4 * width * longest));
    let most_keys = rows_at_once(queue, &[2 * width]);
    for sequences in segment_batches(&[(query_offsets, most_queries), (key_offsets, most_keys)]) {
        let span = |offsets: &[u32]| offsets[sequences.start] as usize..offsets[sequences.end] as usize;
        let (rows, keys) = (span(query_offsets), span(key_offsets));
        let these = sequences.start..=sequences.end;
        let items = attention_items(&query_offsets[these.clone()], &key_offsets[these], QUERIES, causal);
        if items.is_empty() {
            continue;
        }
        let list = queue.table(&items)?;
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
        // A head wider than COLUMNS takes several workgroups.
        let [x, y, _] = queue.groups(items.len());
        let groups = [x, y, (heads * head_dim.div_ceil(COLUMNS as usize)) as u32];
        let bindings = [queries.slice, keys_values.slice, list.slice(..), out.slice];
        let work = Work::words(2 * (rows.len() + keys.len()) * width, 4 * width * attention_pairs(&items, causal));
        queue.record(&KERNEL, &[], &params, &bindings, groups, work)?;
    }
    Ok(())
}
