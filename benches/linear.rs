//! `linear`: the matrix products of a ViT-B/32 block, on the rows of 16 and of 61 views with 50 tokens each.
//!
//! | layer | outputs × inputs | epilogue |
//! | --- | --- | --- |
//! | `key_value` | 1536 × 768 | store |
//! | `query` | 768 × 768 | store |
//! | `output` | 768 × 768 | accumulate |
//! | `up` | 3072 × 768 | quick_gelu, or gelu |
//! | `down` | 768 × 3072 | accumulate |
//!
//! All layers in f32, bf16 and int8 at the best level; `output` at every level and storage, on one thread and on all.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::backend::args::LinearArgs;
use crossalign::backend::{Activation, Backend, Cpu, Epilogue, Precision, Reference, Shape, SimdLevel};
use half::bf16;

/// A layer of the block.
struct Layer {
    name: &'static str,
    outputs: usize,
    inputs: usize,
    epilogue: Epilogue,
}

const fn layer(name: &'static str, outputs: usize, inputs: usize, epilogue: Epilogue) -> Layer {
    Layer { name, outputs, inputs, epilogue }
}

const OUTPUT: Layer = layer("output", 768, 768, Epilogue::Accumulate);
const LAYERS: [Layer; 6] = [
    layer("key_value", 1536, 768, Epilogue::Store),
    layer("query", 768, 768, Epilogue::Store),
    OUTPUT,
    layer("up quick_gelu", 3072, 768, Epilogue::Activate(Activation::QuickGelu)),
    layer("up gelu", 3072, 768, Epilogue::Activate(Activation::Gelu)),
    layer("down", 768, 3072, Epilogue::Accumulate),
];
/// Rows of 16 and of 61 views.
const ROWS: [usize; 2] = [16 * 50, 61 * 50];

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "linear", 0.6);
    let all = input::thread_counts().last().expect("at least one");
    let best = input::cpu(SimdLevel::best(), all);
    for rows in ROWS {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            LAYERS.iter().for_each(|layer| bench_layer(&mut group, &best, rows, layer, precision));
        }
    }
    for level in input::levels() {
        for threads in input::thread_counts() {
            let cpu = input::cpu(level, threads);
            for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8] {
                if (level, threads) != (best.level(), all) || precision == Precision::F16 {
                    bench_layer(&mut group, &cpu, ROWS[0], &OUTPUT, precision);
                }
            }
        }
    }
}

fn bench_layer(group: &mut Group<'_>, cpu: &Cpu, rows: usize, layer: &Layer, precision: Precision) {
    let Layer { name, outputs, inputs, epilogue } = *layer;
    let shape = Shape::new(outputs, inputs);
    let weight = input::random(shape.len(), 1.0 / inputs as f32, 1);
    let bias = input::random(outputs, 0.1, 2);
    // In bf16 the kernel rounds its input: rounded already, it is what the reference computes with.
    let round = |x: f32| if precision == Precision::Bf16 { bf16::from_f32(x).to_f32() } else { x };
    let data: Vec<f32> = input::random(rows * inputs, 1.0, 3).into_iter().map(round).collect();
    let x = cpu.upload(Shape::new(rows, inputs), &data).expect("data of that shape");
    let packed = cpu.pack(shape, &weight, Some(&bias), precision).expect("weights of that shape");
    let mut out = cpu.allocate(Shape::new(rows, outputs)).expect("memory");

    // The first rows against the reference: a row does not depend on the others.
    cpu.linear(LinearArgs { input: &x, layer: &packed, epilogue, out: &mut out }).expect("a valid call");
    let first = |rows: usize| Shape::new(rows, inputs);
    let few = Reference.upload(first(3), &x.data()[..first(3).len()]).expect("data of that shape");
    let same = Reference.pack(shape, &weight, Some(&bias), precision).expect("weights of that shape");
    let mut expected = Reference.allocate(Shape::new(3, outputs)).expect("memory");
    Reference.linear(LinearArgs { input: &few, layer: &same, epilogue, out: &mut expected }).expect("a valid call");
    input::assert_close(&out.data()[..3 * outputs], expected.data());

    let flops = 2 * rows * outputs * inputs;
    let name = format!("{name} {rows}x{outputs}x{inputs} {precision} {}", input::name(cpu));
    let work = match precision {
        Precision::Bf16 if cpu.level() == SimdLevel::Avx512Bf16 => Work::Bf16(flops as f64),
        Precision::Int8 if cpu.level() >= SimdLevel::Avx512Vnni => Work::Int8(flops as f64),
        _ => Work::Flops(flops as f64),
    };
    group.bench(&name, cpu.threads(), flops as u64, work, || {
        cpu.linear(LinearArgs { input: &x, layer: &packed, epilogue, out: &mut out }).expect("a valid call");
    });
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);
