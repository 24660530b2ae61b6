//! The work list of `attention`: one item for each workgroup.

/// For each workgroup of `attention`, which takes up to `at_once` queries of a sequence: the first query row, the
/// number of queries, the first key row, and how many keys the first query sees. Rows are relative to the first
/// offsets.
pub(in crate::backend) fn attention_items(
    query_offsets: &[u32],
    key_offsets: &[u32],
    at_once: u32,
    causal: bool,
) -> Vec<[u32; 4]> {
    let mut items = Vec::new();
    for (q, k) in query_offsets.windows(2).zip(key_offsets.windows(2)) {
        let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
        for first in (0..queries).step_by(at_once as usize) {
            let visible = if causal { keys - queries + first + 1 } else { keys };
            let count = (queries - first).min(at_once);
            items.push([q[0] - query_offsets[0] + first, count, k[0] - key_offsets[0], visible]);
        }
    }
    items
}

/// The total number of pairs of a query and a key that it sees.
pub(in crate::backend) fn attention_pairs(items: &[[u32; 4]], causal: bool) -> usize {
    let pairs = |&[_, count, _, visible]: &[u32; 4]| {
        let (count, visible) = (count as usize, visible as usize);
        count * visible + if causal { count * count.saturating_sub(1) / 2 } else { 0 }
    };
    items.iter().map(pairs).sum()
}
