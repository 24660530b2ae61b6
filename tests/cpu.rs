//! Every kernel of the CPU backend at every SIMD level, against the reference backend.

mod properties;

use crossalign::backend::args::{AttentionArgs, LinearArgs, WeightedSimilarityArgs};
use crossalign::backend::{Backend, Cpu, Epilogue, Precision, Reduction, Shape, SimdLevel};
use std::ops::Range;

macro_rules! stamp {
    ($level:ident if $has:tt: $($kernel:ident),+) => {$(
        #[machine::has($has)]
        #[test]
        fn $kernel() {
            crate::properties::$kernel(&crossalign::backend::Cpu::with_level(super::SimdLevel::$level, 2).unwrap());
        }
    )+};
}

macro_rules! levels {
    ($($kernel:ident),+) => {
        mod portable {
            stamp!(Portable if (): $($kernel),+);
        }
        mod avx2 {
            stamp!(Avx2 if avx2: $($kernel),+);
        }
        mod avx512 {
            stamp!(Avx512 if avx512: $($kernel),+);
        }
        mod avx512_vnni {
            stamp!(Avx512Vnni if avx512_vnni: $($kernel),+);
        }
        mod avx512_bf16 {
            stamp!(Avx512Bf16 if avx512_bf16: $($kernel),+);
        }
    };
}

levels!(
    linear,
    layer_norm,
    attention,
    embed,
    gather_rows,
    l2_normalize,
    alignment_weights,
    weighted_similarity,
    crop_resize,
    contract,
    linear_of_activations,
    attention_of_activations,
    attention_beside_infinities,
    rows_of_activations,
    deep_linear,
    linear_in_f16,
    weights_round_to_even,
    l2_normalize_of_any_length,
    alignment_weights_at_any_scale,
    attention_of_large_scores,
    attention_of_large_scores_of_activations
);

#[test]
fn reference_keeps_its_own_contract() {
    properties::contract(&crossalign::backend::Reference);
}

const PRECISIONS: [Precision; 4] = [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8];

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// Fails unless `run` gives the same bits on one thread and on several, at each level of this machine.
fn same_on_any_number_of_threads(what: &str, run: impl Fn(&Cpu) -> Vec<f32>) {
    for level in SimdLevel::ALL.into_iter().filter(|level| level.is_available()) {
        let on = |threads| run(&Cpu::with_level(level, threads).unwrap());
        let one = on(1);
        for threads in [2, 3, 4] {
            assert!(on(threads) == one, "{what}, {level:?}: {threads} threads");
        }
    }
}

/// More rows and columns than one task takes, so that the threads share the work, and more than two blocks of depth; and
/// rows alone and in less company have the bits that they have among all.
#[test]
fn linear_is_the_same_on_any_number_of_threads() {
    let (rows, outputs, inputs) = (115, 200, 3109);
    let (data, weight) = (wave(rows * inputs), wave(outputs * inputs));
    for precision in PRECISIONS {
        same_on_any_number_of_threads(&format!("linear in {precision}"), |cpu| {
            let layer = cpu.pack(Shape::new(outputs, inputs), &weight, None, precision).unwrap();
            let product = |rows: Range<usize>| {
                let data = &data[rows.start * inputs..rows.end * inputs];
                let input = cpu.upload(Shape::new(rows.len(), inputs), data).unwrap();
                let mut out = cpu.allocate(Shape::new(rows.len(), outputs)).unwrap();
                cpu.linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut out })
                    .unwrap();
                cpu.download(&out).unwrap()
            };
            let all = product(0..rows);
            for some in [0..1, 50..64, rows - 1..rows] {
                let of_all = &all[some.start * outputs..some.end * outputs];
                assert!(product(some.clone()) == of_all, "{} {precision}: rows {some:?}", cpu.describe());
            }
            all
        });
    }
}

#[test]
fn attention_is_the_same_on_any_number_of_threads() {
    let (heads, width, offsets) = (3, 96, [0, 200, 201, 270]);
    same_on_any_number_of_threads("attention", |cpu| {
        let rows = offsets[3] as usize;
        let queries = cpu.upload(Shape::new(rows, width), &wave(rows * width)).unwrap();
        let keys_values = cpu.upload(Shape::new(rows, 2 * width), &wave(rows * 2 * width)).unwrap();
        let mut out = cpu.allocate(Shape::new(rows, width)).unwrap();
        cpu.attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: &offsets,
            key_offsets: &offsets,
            heads,
            causal: true,
            out: &mut out,
        })
        .unwrap();
        cpu.download(&out).unwrap()
    });
}

/// More texts than one task takes.
#[test]
fn weighted_similarity_is_the_same_on_any_number_of_threads() {
    let (views, texts, width) = (13, 9000, 20);
    let classes: Vec<u32> = (0..=texts as u32).step_by(9).collect();
    for (precision, reduction) in
        PRECISIONS.into_iter().zip([Reduction::WeightedMean, Reduction::BestMean(2)].repeat(2))
    {
        same_on_any_number_of_threads(&format!("weighted_similarity in {precision}"), |cpu| {
            let upload = |rows, cols| cpu.upload(Shape::new(rows, cols), &wave(rows * cols)).unwrap();
            let layer = cpu.pack(Shape::new(texts, width), &wave(texts * width), None, precision).unwrap();
            let (weights, text_weights, mut out) = (upload(1, views), upload(1, texts), upload(1, classes.len() - 1));
            let views = upload(views, width);
            cpu.weighted_similarity(WeightedSimilarityArgs {
                views: &views,
                view_weights: &weights,
                texts: &layer,
                text_weights: &text_weights,
                pictures: &[0, 13],
                classes: &classes,
                reduction,
                out: &mut out,
            })
            .unwrap();
            cpu.download(&out).unwrap()
        });
    }
}

#[test]
fn threads_are_as_many_as_the_machine_bears() {
    let most = 4 * std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(Cpu::new(most).unwrap().threads(), most);
    for threads in [most + 1, 100_000, usize::MAX] {
        let message = Cpu::new(threads).unwrap_err().to_string();
        assert!(message.starts_with(&format!("threads: found {threads}, expected at most {most}")), "{message}");
    }
}

#[test]
fn a_missing_level_is_an_error() {
    for level in SimdLevel::ALL {
        assert_eq!(Cpu::with_level(level, 1).is_ok(), level.is_available());
    }
}
