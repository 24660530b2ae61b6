//! `attention`: 16 views with 12 heads of 64, of 50 (ViT-B/32), 197 (B/16) and 577 tokens (ViT-L/14-336's number);
//! and 256 descriptions of 8 to 30 tokens with 8 heads of 64, causal.
//!
//! Operations are those of `q kᵀ` and of the product with `v`; of causal sequences, only of the keys that are seen.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::backend::args::AttentionArgs;
use crossalign::backend::{Backend, Cpu, HostTensor, Reference, Shape, SimdLevel};

/// Width of a head.
const HEAD: usize = 64;

/// Sequences of one tower.
struct Sequences {
    name: String,
    offsets: Vec<u32>,
    heads: usize,
    causal: bool,
}

impl Sequences {
    fn views(count: u32, tokens: u32) -> Self {
        let offsets = (0..=count).map(|view| view * tokens).collect();
        Self { name: format!("{count} views of {tokens}"), offsets, heads: 12, causal: false }
    }

    fn texts(count: usize) -> Self {
        let offsets = input::ragged(count, 8, 30, 1);
        Self { name: format!("{count} texts of 8-30"), offsets, heads: 8, causal: true }
    }

    fn width(&self) -> usize {
        self.heads * HEAD
    }

    fn tokens(&self) -> usize {
        self.offsets[self.offsets.len() - 1] as usize
    }

    fn flops(&self) -> f64 {
        let pairs = |bounds: &[u32]| {
            let n = f64::from(bounds[1] - bounds[0]);
            if self.causal { n * (n + 1.0) / 2.0 } else { n * n }
        };
        4.0 * self.width() as f64 * self.offsets.windows(2).map(pairs).sum::<f64>()
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "attention", 1.0);
    let all = [Sequences::views(16, 50), Sequences::views(16, 197), Sequences::views(16, 577), Sequences::texts(256)];
    for sequences in &all {
        for threads in input::thread_counts() {
            bench_sequences(&mut group, &input::cpu(SimdLevel::best(), threads), sequences);
        }
    }
    for level in input::levels().filter(|&level| level != SimdLevel::best()) {
        bench_sequences(&mut group, &input::cpu(level, 1), &all[0]);
    }
}

fn bench_sequences(group: &mut Group<'_>, cpu: &Cpu, sequences: &Sequences) {
    let Sequences { name, offsets, heads, causal } = sequences;
    let (tokens, width) = (sequences.tokens(), sequences.width());
    let queries = input::tensor(cpu, tokens, width, 1.0, 2);
    let keys_values = input::tensor(cpu, tokens, 2 * width, 1.0, 3);
    let mut out = cpu.allocate(Shape::new(tokens, width)).expect("memory");
    let run = |out: &mut HostTensor| {
        cpu.attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: offsets,
            key_offsets: offsets,
            heads: *heads,
            causal: *causal,
            out,
        })
        .expect("a valid call");
    };

    // The first sequence against the reference: it does not depend on the others.
    run(&mut out);
    let first = offsets[1] as usize;
    let head = |tensor: &HostTensor, width| {
        Reference.upload(Shape::new(first, width), &tensor.data()[..first * width]).expect("data of that shape")
    };
    let (few_queries, few_keys_values) = (head(&queries, width), head(&keys_values, 2 * width));
    let mut expected = Reference.allocate(Shape::new(first, width)).expect("memory");
    Reference
        .attention(AttentionArgs {
            queries: &few_queries,
            keys_values: &few_keys_values,
            query_offsets: &offsets[..2],
            key_offsets: &offsets[..2],
            heads: *heads,
            causal: *causal,
            out: &mut expected,
        })
        .expect("a valid call");
    input::assert_close(&out.data()[..first * width], expected.data());

    let name = format!("{name} {}", input::name(cpu));
    let work = Work::Flops(sequences.flops());
    group.bench(&name, cpu.threads(), tokens as u64, work, || run(&mut out));
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);
