//! The kernels' contract as properties of any backend, against the reference backend.
//!
//! Values are compared element by element with a bound that grows with the magnitudes that were summed; bytes, copies
//! and everything that batching or threads must not change are compared bit by bit.

pub mod activations;
pub mod deep;
pub mod extremes;

pub use activations::{
    attention as attention_of_activations, attention_beside_infinities, linear as linear_of_activations,
    rows as rows_of_activations,
};
use crossalign::backend::args::{
    AddPositionsArgs, AlignmentWeightsArgs, AttentionArgs, CropResizeArgs, EmbedTokensArgs, GatherRowsArgs,
    L2NormalizeArgs, LayerNormArgs, LinearArgs, WeightedSimilarityArgs,
};
use crossalign::backend::{
    Activation, Backend, CropJob, CropOutput, CropPlan, Epilogue, PatchLayout, Precision, Reduction, Reference, Rgb,
    Shape, Shaped,
};
use crossalign::image::{CropBox, Resize, plan_views, resampled};
pub use deep::{deep_linear, linear_in_f16, weights_round_to_even};
pub use extremes::{
    alignment_weights_at_any_scale, attention_of_large_scores, attention_of_large_scores_of_activations,
    l2_normalize_of_any_length,
};
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::ops::Range;

/// The relative error of a sum of `terms` products in f32, in whatever order, with room for approximations of a few
/// units in the last place: `(terms + 32) · 2⁻²⁴`.
fn rounding(terms: usize) -> f32 {
    (terms + 32) as f32 / (1 << 24) as f32
}

/// A matrix on both backends.
struct Pair<B: Backend> {
    found: B::Tensor,
    expected: <Reference as Backend>::Tensor,
    data: Vec<f32>,
}

/// Numbers from a seed: unit scale, large, tiny, mostly zero, or all equal, as the seed says.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let kind = seed % 7;
    let constant = uniform();
    (0..count)
        .map(|_| match kind {
            0 => uniform() * 1e3,
            1 => uniform() * 1e-4,
            2 if uniform() > -0.8 => 0.0,
            3 => constant,
            _ => uniform(),
        })
        .collect()
}

fn pair<B: Backend>(device: &B, shape: Shape, seed: u64) -> Pair<B> {
    with_data(device, shape, numbers(seed, shape.len()))
}

fn with_data<B: Backend>(device: &B, shape: Shape, data: Vec<f32>) -> Pair<B> {
    let (found, expected) = (device.upload(shape, &data).unwrap(), Reference.upload(shape, &data).unwrap());
    Pair { found, expected, data }
}

/// Fails unless each element is within its bound.
fn close<B: Backend>(device: &B, pair: &Pair<B>, bound: impl Fn(usize) -> f32) -> Result<(), TestCaseError> {
    let (found, expected) = (device.download(&pair.found).unwrap(), pair.expected.data());
    prop_assert_eq!(found.len(), expected.len());
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let (difference, bound) = ((found - expected).abs(), bound(i));
        prop_assert!(difference <= bound, "element {i}: {found}, expected {expected} within {bound}");
    }
    Ok(())
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    // PROPTEST_CASES lowers the number of cases, for emulated processors.
    let most = std::env::var("PROPTEST_CASES").ok().and_then(|most| most.parse().ok()).unwrap_or(cases);
    let config = Config { failure_persistence: None, ..Config::with_cases(cases.min(most)) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

/// Rounds inputs beforehand, since a device may round them to the precision of the weights, too.
fn rounded(precision: Precision, mut data: Vec<f32>) -> Vec<f32> {
    for x in &mut data {
        *x = match precision {
            // For int8 the reference itself rounds the inputs.
            Precision::F32 | Precision::Int8 => *x,
            Precision::F16 => f16::from_f32(*x).to_f32(),
            Precision::Bf16 => bf16::from_f32(*x).to_f32(),
        };
    }
    data
}

fn magnitudes(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.abs()).collect()
}

fn epilogues() -> impl Strategy<Value = Epilogue> {
    prop_oneof![
        Just(Epilogue::Store),
        Just(Epilogue::Accumulate),
        Just(Epilogue::Activate(Activation::QuickGelu)),
        Just(Epilogue::Activate(Activation::Gelu)),
        Just(Epilogue::Activate(Activation::GeluTanh)),
    ]
}

fn precisions() -> impl Strategy<Value = Precision> {
    prop_oneof![Just(Precision::F32), Just(Precision::F16), Just(Precision::Bf16), Just(Precision::Int8)]
}

/// Whether the device has the precision: GPUs lack int8.
fn supports<B: Backend>(device: &B, precision: Precision) -> bool {
    device.pack(Shape::new(1, 1), &[1.0], None, precision).is_ok() || precision != Precision::Int8
}

/// Ragged offsets of up to `count` segments of up to `longest` rows.
fn offsets(count: usize, longest: u32) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..=longest, 1..=count).prop_map(|lengths| {
        let mut offsets = vec![0];
        for length in lengths {
            offsets.push(offsets.last().unwrap() + length);
        }
        offsets
    })
}

pub fn linear<B: Backend>(device: &B) {
    let rows = prop_oneof![3 => 1usize..40, 1 => 60usize..200];
    let sizes = (rows, prop_oneof![1usize..20, 120usize..140], prop_oneof![1usize..70, 760usize..780]);
    let strategy = (sizes, epilogues(), precisions(), any::<bool>(), any::<u64>());
    run(160, strategy, |((rows, outputs, inputs), epilogue, precision, biased, seed)| {
        if !supports(device, precision) {
            return Ok(());
        }
        let data = rounded(precision, numbers(seed, rows * inputs));
        let input = with_data(device, Shape::new(rows, inputs), data);
        let mut out = pair(device, Shape::new(rows, outputs), seed ^ 2);
        let shape = Shape::new(outputs, inputs);
        let (weight, bias) = (numbers(seed ^ 3, shape.len()), numbers(seed ^ 4, outputs));
        let bias = biased.then_some(&bias[..]);

        // The product of the magnitudes bounds the rounding.
        let absolute = Reference.pack(shape, &magnitudes(&weight), None, Precision::F32).unwrap();
        let mut scale = Reference.upload(Shape::new(rows, outputs), &magnitudes(&out.data)).unwrap();
        let input_magnitudes = Reference.upload(input.expected.shape(), &magnitudes(&input.data)).unwrap();
        Reference
            .linear(LinearArgs {
                input: &input_magnitudes,
                layer: &absolute,
                epilogue: Epilogue::Accumulate,
                out: &mut scale,
            })
            .unwrap();

        let layer = device.pack(shape, &weight, bias, precision).unwrap();
        device.linear(LinearArgs { input: &input.found, layer: &layer, epilogue, out: &mut out.found }).unwrap();
        let layer = Reference.pack(shape, &weight, bias, precision).unwrap();
        Reference
            .linear(LinearArgs { input: &input.expected, layer: &layer, epilogue, out: &mut out.expected })
            .unwrap();
        close(device, &out, |i| {
            rounding(inputs) * (scale.data()[i] + bias.map_or(0.0, |bias| bias[i % outputs].abs())) + 1e-9
        })?;

        // A row alone gives the same bits as in the batch.
        if epilogue != Epilogue::Accumulate {
            let row = seed as usize % rows;
            let alone = device.upload(Shape::new(1, inputs), &input.data[row * inputs..][..inputs]).unwrap();
            let mut single = device.allocate(Shape::new(1, outputs)).unwrap();
            let layer = device.pack(shape, &weight, bias, precision).unwrap();
            device.linear(LinearArgs { input: &alone, layer: &layer, epilogue, out: &mut single }).unwrap();
            let together = device.download(&out.found).unwrap();
            prop_assert_eq!(device.download(&single).unwrap(), &together[row * outputs..][..outputs]);
        }
        Ok(())
    });
}

/// Widths of rows that are read by vectors: on CUDA some of them stay in registers, wider ones do not.
fn wide_rows() -> impl Strategy<Value = usize> {
    (1usize..190).prop_map(|eights| 8 * eights)
}

/// [`extremes::layer_norm_bound`] of each element.
fn layer_norm_bounds(data: &[f32], eps: f64, gamma: &[f32], beta: &[f32]) -> Vec<f32> {
    let rows = data.chunks_exact(gamma.len());
    rows.flat_map(|row| extremes::layer_norm_bound(row, eps, gamma, beta)).collect()
}

pub fn layer_norm<B: Backend>(device: &B) {
    let widths = prop_oneof![3 => 1usize..200, 1 => 700usize..1100, 1 => wide_rows()];
    let offsets = prop_oneof![2 => Just(0.0), 1 => Just(4096.0), 1 => Just(-4096.0)];
    run(100, (1usize..80, widths, offsets, any::<u64>()), |(rows, width, offset, seed)| {
        let shape = Shape::new(rows, width);
        let input = with_data(device, shape, extremes::offset_rows(seed, shape, offset));
        let gamma = pair(device, Shape::new(1, width), seed ^ 2 | 4);
        let beta = pair(device, Shape::new(1, width), seed ^ 3 | 4);
        let mut out = pair(device, Shape::new(rows, width), 5);
        device
            .layer_norm(LayerNormArgs {
                input: &input.found,
                gamma: &gamma.found,
                beta: &beta.found,
                eps: 1e-5,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .layer_norm(LayerNormArgs {
                input: &input.expected,
                gamma: &gamma.expected,
                beta: &beta.expected,
                eps: 1e-5,
                out: &mut out.expected,
            })
            .unwrap();
        let bounds = layer_norm_bounds(&input.data, 1e-5, &gamma.data, &beta.data);
        close(device, &out, |i| bounds[i])?;

        let row = seed as usize % rows;
        let alone = device.upload(Shape::new(1, width), &input.data[row * width..][..width]).unwrap();
        let mut single = device.allocate(Shape::new(1, width)).unwrap();
        device
            .layer_norm(LayerNormArgs {
                input: &alone,
                gamma: &gamma.found,
                beta: &beta.found,
                eps: 1e-5,
                out: &mut single,
            })
            .unwrap();
        let together = device.download(&out.found).unwrap();
        prop_assert_eq!(device.download(&single).unwrap(), &together[row * width..][..width]);
        Ok(())
    });
}

pub fn attention<B: Backend>(device: &B) {
    let heads = prop_oneof![
        Just((1usize, 64usize)),
        Just((3, 32)),
        Just((2, 80)),
        Just((1, 128)),
        Just((4, 5)),
        Just((3, 20)),
        Just((1, 150))
    ];
    let lengths = prop::collection::vec((prop_oneof![1 => Just(0), 6 => 1u32..=70], 0u32..=70), 1..5);
    run(60, (heads, lengths, any::<bool>(), any::<u64>()), |((heads, dim), lengths, causal, seed)| {
        let width = heads * dim;
        let (mut query_offsets, mut key_offsets) = (vec![0u32], vec![0u32]);
        for (keys, queries) in &lengths {
            key_offsets.push(key_offsets.last().unwrap() + keys);
            query_offsets.push(query_offsets.last().unwrap() + queries.min(keys));
        }
        let (rows, all) = (*query_offsets.last().unwrap() as usize, *key_offsets.last().unwrap() as usize);
        let queries = pair(device, Shape::new(rows, width), seed);
        let keys_values = pair(device, Shape::new(all, 2 * width), seed ^ 2);
        let mut out = pair(device, Shape::new(rows, width), 3);
        let (q, k) = (&query_offsets, &key_offsets);
        device
            .attention(AttentionArgs {
                queries: &queries.found,
                keys_values: &keys_values.found,
                query_offsets: q,
                key_offsets: k,
                heads,
                causal,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .attention(AttentionArgs {
                queries: &queries.expected,
                keys_values: &keys_values.expected,
                query_offsets: q,
                key_offsets: k,
                heads,
                causal,
                out: &mut out.expected,
            })
            .unwrap();
        // A logit's rounding becomes a relative error of the weights.
        let largest = |x: &[f32]| x.iter().fold(0f32, |max, x| max.max(x.abs()));
        let logit = largest(&queries.data) * largest(&keys_values.data) * (dim as f32).sqrt();
        let relative = 4.0 * rounding(dim) * logit + 2.0 * rounding(all);
        close(device, &out, |_| largest(&keys_values.data) * relative.min(2.0))?;

        // The last sequence alone gives the same bits as in the batch.
        let s = lengths.len() - 1;
        let part = |data: &[f32], offsets: &[u32], width: usize| {
            data[offsets[s] as usize * width..offsets[s + 1] as usize * width].to_vec()
        };
        let (count, seen) = (q[s + 1] - q[s], k[s + 1] - k[s]);
        let upload = |rows: u32, width, data: Vec<f32>| device.upload(Shape::new(rows as usize, width), &data).unwrap();
        let queries = upload(count, width, part(&queries.data, q, width));
        let keys_values = upload(seen, 2 * width, part(&keys_values.data, k, 2 * width));
        let mut alone = device.allocate(Shape::new(count as usize, width)).unwrap();
        device
            .attention(AttentionArgs {
                queries: &queries,
                keys_values: &keys_values,
                query_offsets: &[0, count],
                key_offsets: &[0, seen],
                heads,
                causal,
                out: &mut alone,
            })
            .unwrap();
        let together = device.download(&out.found).unwrap();
        prop_assert_eq!(device.download(&alone).unwrap(), part(&together, q, width));
        Ok(())
    });
}

pub fn embed<B: Backend>(device: &B) {
    run(60, (offsets(6, 9), 1usize..50, 1usize..40, any::<u64>()), |(offsets, width, vocabulary, seed)| {
        let tokens: Vec<u32> =
            (0..*offsets.last().unwrap()).map(|i| (seed as u32 ^ (i * 7)) % vocabulary as u32).collect();
        let table = pair(device, Shape::new(vocabulary, width), seed);
        let positions = pair(device, Shape::new(9, width), seed ^ 2);
        let mut out = pair(device, Shape::new(tokens.len(), width), 3);
        device
            .embed_tokens(EmbedTokensArgs {
                tokens: &tokens,
                offsets: &offsets,
                table: &table.found,
                positions: &positions.found,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .embed_tokens(EmbedTokensArgs {
                tokens: &tokens,
                offsets: &offsets,
                table: &table.expected,
                positions: &positions.expected,
                out: &mut out.expected,
            })
            .unwrap();
        close(device, &out, |_| 0.0)
    });
    run(60, (1usize..5, 1usize..20, 1usize..50, any::<u64>()), |(views, patches, width, seed)| {
        let rows = pair(device, Shape::new(views * patches, width), seed);
        let class = pair(device, Shape::new(1, width), seed ^ 2);
        let positions = pair(device, Shape::new(patches + 1, width), seed ^ 3);
        let mut out = pair(device, Shape::new(views * (patches + 1), width), 4);
        device
            .add_positions(AddPositionsArgs {
                patches: &rows.found,
                class: &class.found,
                positions: &positions.found,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .add_positions(AddPositionsArgs {
                patches: &rows.expected,
                class: &class.expected,
                positions: &positions.expected,
                out: &mut out.expected,
            })
            .unwrap();
        close(device, &out, |_| 0.0)
    });
}

pub fn gather_rows<B: Backend>(device: &B) {
    let rows = prop::collection::vec(any::<u32>(), 0..30);
    run(60, (rows, 1usize..30, 1usize..50, any::<u64>()), |(rows, height, width, seed)| {
        let rows: Vec<u32> = rows.into_iter().map(|row| row % height as u32).collect();
        let input = pair(device, Shape::new(height, width), seed);
        // Into the middle of a larger matrix: the rest of it stays.
        let first_row = seed as usize % 4;
        let mut out = pair(device, Shape::new(first_row + rows.len() + seed as usize % 3, width), 3);
        device
            .gather_rows(GatherRowsArgs { input: &input.found, rows: &rows, first_row, out: &mut out.found })
            .unwrap();
        Reference
            .gather_rows(GatherRowsArgs { input: &input.expected, rows: &rows, first_row, out: &mut out.expected })
            .unwrap();
        close(device, &out, |_| 0.0)
    });
}

pub fn l2_normalize<B: Backend>(device: &B) {
    run(80, (0usize..20, 1usize..200, any::<u64>()), |(rows, width, seed)| {
        let mut rows = pair(device, Shape::new(rows, width), seed);
        device.l2_normalize(L2NormalizeArgs { tensor: &mut rows.found }).unwrap();
        Reference.l2_normalize(L2NormalizeArgs { tensor: &mut rows.expected }).unwrap();
        close(device, &rows, |_| rounding(width))
    });
}

pub fn alignment_weights<B: Backend>(device: &B) {
    run(80, (offsets(6, 40), 1usize..100, 0f32..60.0, any::<u64>()), |(offsets, width, scale, seed)| {
        let (count, segments) = (*offsets.last().unwrap() as usize, offsets.len() - 1);
        let mut rows = pair(device, Shape::new(count, width), seed);
        let mut anchors = pair(device, Shape::new(segments, width), seed ^ 2);
        for pair in [&mut rows, &mut anchors] {
            Reference.l2_normalize(L2NormalizeArgs { tensor: &mut pair.expected }).unwrap();
            pair.found = device.upload(pair.expected.shape(), pair.expected.data()).unwrap();
        }
        let mut out = pair(device, Shape::new(1, count), 3);
        let mut lengths = pair(device, Shape::new(1, segments), 4);
        device
            .alignment_weights(AlignmentWeightsArgs {
                rows: &rows.found,
                anchors: &anchors.found,
                offsets: &offsets,
                scale,
                lengths: &mut lengths.found,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .alignment_weights(AlignmentWeightsArgs {
                rows: &rows.expected,
                anchors: &anchors.expected,
                offsets: &offsets,
                scale,
                lengths: &mut lengths.expected,
                out: &mut out.expected,
            })
            .unwrap();
        close(device, &out, |_| 4.0 * rounding(width) * (1.0 + scale))?;
        // The rows have unit length, so that the weights' errors change the length of their sum by no more than their
        // sum.
        close(device, &lengths, |_| (4.0 * count as f32 + 2.0) * rounding(width) * (1.0 + scale))?;

        // The last segment alone gives the same bits as in the batch.
        let (first, all) = (offsets[segments - 1] as usize, rows.expected.data());
        let alone = device.upload(Shape::new(count - first, width), &all[first * width..]).unwrap();
        let anchor = device.upload(Shape::new(1, width), anchors.expected.row(segments - 1)).unwrap();
        let mut single = device.allocate(Shape::new(1, count - first)).unwrap();
        let mut length = device.allocate(Shape::new(1, 1)).unwrap();
        device
            .alignment_weights(AlignmentWeightsArgs {
                rows: &alone,
                anchors: &anchor,
                offsets: &[0, (count - first) as u32],
                scale,
                lengths: &mut length,
                out: &mut single,
            })
            .unwrap();
        prop_assert_eq!(device.download(&single).unwrap(), &device.download(&out.found).unwrap()[first..]);
        prop_assert_eq!(device.download(&length).unwrap(), &device.download(&lengths.found).unwrap()[segments - 1..]);
        Ok(())
    });
}

pub fn weighted_similarity<B: Backend>(device: &B) {
    let reductions = prop_oneof![Just(Reduction::WeightedMean), (1usize..20).prop_map(Reduction::BestMean)];
    let views = prop_oneof![3 => 1usize..20, 1 => 60usize..80];
    let strategy = (views, offsets(40, 60), 1usize..70, (reductions, precisions()), any::<u64>());
    run(100, strategy, |(count, classes, width, (reduction, precision), seed)| {
        let texts = *classes.last().unwrap() as usize;
        // Up to three pictures, one of which may have no views.
        let cut = |seed: u64| (seed % (count as u64 + 1)) as u32;
        let mut pictures = vec![0, count as u32];
        pictures.extend((0..seed % 3).map(|i| cut(seed >> (8 + 8 * i))));
        pictures.sort_unstable();
        let cells = (pictures.len() - 1) * (classes.len() - 1);
        // int8 has a scale a text, so that which text is better depends on rounding.
        let ambiguous = precision == Precision::Int8 && reduction != Reduction::WeightedMean;
        if texts == 0 || ambiguous || !supports(device, precision) {
            return Ok(());
        }
        // Small whole numbers make exact sums: which text is better does not depend on rounding, and ties are common.
        let exact = |x: f32| if reduction == Reduction::WeightedMean { x } else { (x * 3.0).trunc() };
        let unit =
            |seed: u64, count| -> Vec<f32> { numbers((seed >> 3) * 7 + 5, count).into_iter().map(exact).collect() };
        let data = rounded(precision, unit(seed, count * width));
        // In a sixth of the draws no similarity is above 0.
        let negative = seed % 6 == 0;
        let signed = |x: f32, sign: f32| if negative { sign * x.abs() } else { x };
        let data = data.into_iter().map(|x| signed(x, 1.0)).collect();
        let views = with_data(device, Shape::new(count, width), data);
        let view_weights = with_data(device, Shape::new(1, count), magnitudes(&numbers(seed ^ 2, count)));
        // A fifth of the texts is masked out.
        let weight = |(i, x): (usize, f32)| if i % 5 == 3 { 0.0 } else { x.abs() + 0.1 };
        let text_weights = numbers(seed ^ 3, texts).into_iter().enumerate().map(weight).collect();
        let text_weights = with_data(device, Shape::new(1, texts), text_weights);
        let rows: Vec<f32> = unit(seed ^ 8, texts * width).into_iter().map(|x| signed(x, -1.0)).collect();
        let mut out = pair(device, Shape::new(pictures.len() - 1, classes.len() - 1), 3);
        let packed = device.pack(Shape::new(texts, width), &rows, None, precision).unwrap();
        let (w, v) = (&view_weights, &text_weights);
        device
            .weighted_similarity(WeightedSimilarityArgs {
                views: &views.found,
                view_weights: &w.found,
                texts: &packed,
                text_weights: &v.found,
                pictures: &pictures,
                classes: &classes,
                reduction,
                out: &mut out.found,
            })
            .unwrap();
        let packed = Reference.pack(Shape::new(texts, width), &rows, None, precision).unwrap();
        let (w, v) = (&w.expected, &v.expected);
        Reference
            .weighted_similarity(WeightedSimilarityArgs {
                views: &views.expected,
                view_weights: w,
                texts: &packed,
                text_weights: v,
                pictures: &pictures,
                classes: &classes,
                reduction,
                out: &mut out.expected,
            })
            .unwrap();
        let bounds = match reduction {
            // The sums over the magnitudes bound the rounding.
            Reduction::WeightedMean => {
                let packed = Reference.pack(Shape::new(texts, width), &magnitudes(&rows), None, precision).unwrap();
                let views = Reference.upload(Shape::new(count, width), &magnitudes(&views.data)).unwrap();
                let mut sums = Reference.allocate(Shape::new(pictures.len() - 1, classes.len() - 1)).unwrap();
                Reference
                    .weighted_similarity(WeightedSimilarityArgs {
                        views: &views,
                        view_weights: w,
                        texts: &packed,
                        text_weights: v,
                        pictures: &pictures,
                        classes: &classes,
                        reduction,
                        out: &mut sums,
                    })
                    .unwrap();
                sums.data().iter().map(|sum| rounding(width + count + texts) * sum).collect()
            }
            // Similarities are exact, of magnitude 9 a column at most; a mean is no larger.
            Reduction::BestMean(k) => {
                let largest = (9 * width) as f32 * view_weights.data.iter().sum::<f32>();
                vec![rounding(2 * k + count) * largest; cells]
            }
        };
        close(device, &out, |i| bounds[i])?;

        // The last class alone gives the same bits as in the batch.
        let last = classes.len() - 2;
        let first = classes[last] as usize;
        if first < texts {
            let upload = |data: &[f32]| device.upload(Shape::new(1, data.len()), data).unwrap();
            let (w, v) = (upload(&view_weights.data), upload(&text_weights.data[first..]));
            let packed =
                device.pack(Shape::new(texts - first, width), &rows[first * width..], None, precision).unwrap();
            let alone = [0, (texts - first) as u32];
            let mut single = device.allocate(Shape::new(pictures.len() - 1, 1)).unwrap();
            device
                .weighted_similarity(WeightedSimilarityArgs {
                    views: &views.found,
                    view_weights: &w,
                    texts: &packed,
                    text_weights: &v,
                    pictures: &pictures,
                    classes: &alone,
                    reduction,
                    out: &mut single,
                })
                .unwrap();
            let all = device.download(&out.found).unwrap();
            let of_last: Vec<f32> = all.iter().skip(last).step_by(last + 1).copied().collect();
            prop_assert_eq!(device.download(&single).unwrap(), of_last);
        }

        // So does the last picture.
        let start = pictures[pictures.len() - 2] as usize;
        if start < count {
            let upload = |rows, cols, data: &[f32]| device.upload(Shape::new(rows, cols), data).unwrap();
            let own = upload(count - start, width, &views.data[start * width..]);
            let own_weights = upload(1, count - start, &view_weights.data[start..]);
            let packed = device.pack(Shape::new(texts, width), &rows, None, precision).unwrap();
            let mut single = device.allocate(Shape::new(1, classes.len() - 1)).unwrap();
            device
                .weighted_similarity(WeightedSimilarityArgs {
                    views: &own,
                    view_weights: &own_weights,
                    texts: &packed,
                    text_weights: &text_weights.found,
                    pictures: &[0, (count - start) as u32],
                    classes: &classes,
                    reduction,
                    out: &mut single,
                })
                .unwrap();
            let all = device.download(&out.found).unwrap();
            prop_assert_eq!(device.download(&single).unwrap(), &all[all.len() - (classes.len() - 1)..]);
        }
        Ok(())
    });
}

pub fn crop_resize<B: Backend>(device: &B) {
    let boxes = prop::collection::vec((0f64..1.0, 0f64..1.0, 0f64..1.0, 0f64..1.0), 0..4);
    // So high that the rows of a tile do not fit the shared memory of a block.
    let heights = prop_oneof![5 => 1u32..70, 1 => 130u32..300];
    let sizes = (1u32..70, heights, 1u32..12, 1u32..5);
    run(120, (sizes, boxes, any::<u64>()), |((width, height, patch, grid), boxes, seed)| {
        let size = patch * grid;
        let byte = |x: f32| if seed % 3 == 0 { if x > 0.0 { 255 } else { 0 } } else { (x * 127.0 + 128.0) as u8 };
        let pixels: Vec<u8> = numbers(seed | 4, (width * height * 3) as usize).into_iter().map(byte).collect();
        let picture = Rgb::new(width, height, &pixels).unwrap();
        let part = |at: f64, limit: u32| (at * f64::from(limit)) as u32;
        let boxes: Vec<CropBox> = boxes
            .into_iter()
            .map(|(x, y, w, h)| {
                let (x, y) = (part(x, width), part(y, height));
                CropBox::new(x, y, 1 + part(w, width - x), 1 + part(h, height - y))
            })
            .collect();
        let plan = plan_views((width, height), &boxes, size, Resize::ShortestEdge).unwrap();
        let expected = resampled(&Reference, picture, &plan).unwrap();
        prop_assert_eq!(&resampled(device, picture, &plan).unwrap(), &expected);

        // As patches, some views into the middle of a larger matrix: the rest of it stays. Before them, views of another
        // picture.
        let other_pixels: Vec<u8> = pixels.iter().rev().copied().collect();
        let other = Rgb::new(height, width, &other_pixels).unwrap();
        let other_plan = plan_views((height, width), &[], size, Resize::Squash).unwrap();
        let before = 0..seed as usize / 7 % 2;
        let layout = PatchLayout::new(patch, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]).unwrap();
        let views = seed as usize % plan.views().len()..plan.views().len();
        let (per_view, first_row) = ((grid * grid) as usize, seed as usize % 5);
        let count = before.len() + views.len();
        let shape = Shape::new(first_row + count * per_view + 2, 3 * (patch * patch) as usize);
        let mut out = pair(device, shape, seed);
        let (layout, found, expected) = (&layout, &mut out.found, &mut out.expected);
        cut(device, [(other, &other_plan, before.clone()), (picture, &plan, views.clone())], layout, first_row, found);
        cut(&Reference, [(other, &other_plan, before), (picture, &plan, views)], layout, first_row, expected);
        close(device, &out, |_| 0.0)
    });
}

/// Cuts views of two pictures, those of the second in two calls.
fn cut<B: Backend>(
    device: &B,
    [first, second]: [(Rgb<'_>, &CropPlan, Range<usize>); 2],
    layout: &PatchLayout,
    first_row: usize,
    out: &mut B::Tensor,
) {
    let (picture, plan, views) = second;
    let pictures = [first.0, picture].map(|picture| device.upload_picture(picture).unwrap());
    let middle = views.start + views.len() / 2;
    let job = |views| CropJob { picture: &pictures[1], plan, views };
    let jobs = [CropJob { picture: &pictures[0], plan: first.1, views: first.2 }, job(views.start..middle)];
    let mut run = |jobs: &[CropJob<'_, B::Picture<'_>>], first_row| {
        let output = CropOutput::Patches { layout, first_row, out };
        device.crop_resize(CropResizeArgs { jobs, output }).unwrap();
    };
    run(&jobs, first_row);
    let done: usize = jobs.iter().map(|job| job.views.len()).sum();
    run(&[job(middle..views.end)], first_row + done * ((plan.size() / layout.patch()) as usize).pow(2));
}

/// Wrong shapes are errors that name the kernel, and change nothing.
pub fn contract<B: Backend>(device: &B) {
    let zeros = |rows, cols| device.allocate(Shape::new(rows, cols)).unwrap();
    let layer = device.pack(Shape::new(3, 4), &[0.0; 12], None, Precision::F32).unwrap();
    let mut out = device.upload(Shape::new(2, 3), &[7.0; 6]).unwrap();
    let errors = [
        ("pack", device.pack(Shape::new(3, 4), &[0.0; 11], None, Precision::F32).err()),
        ("upload", device.upload(Shape::new(2, 2), &[0.0; 3]).err()),
        (
            "linear",
            device
                .linear(LinearArgs { input: &zeros(2, 5), layer: &layer, epilogue: Epilogue::Store, out: &mut out })
                .err(),
        ),
        (
            "linear",
            device
                .linear(LinearArgs { input: &zeros(3, 4), layer: &layer, epilogue: Epilogue::Store, out: &mut out })
                .err(),
        ),
        (
            "layer_norm",
            device
                .layer_norm(LayerNormArgs {
                    input: &zeros(2, 3),
                    gamma: &zeros(1, 2),
                    beta: &zeros(1, 3),
                    eps: 1e-5,
                    out: &mut out,
                })
                .err(),
        ),
        (
            "attention",
            device
                .attention(AttentionArgs {
                    queries: &zeros(2, 3),
                    keys_values: &zeros(2, 6),
                    query_offsets: &[0, 2],
                    key_offsets: &[0, 2],
                    heads: 2,
                    causal: false,
                    out: &mut out,
                })
                .err(),
        ),
        (
            "attention",
            device
                .attention(AttentionArgs {
                    queries: &zeros(2, 3),
                    keys_values: &zeros(2, 6),
                    query_offsets: &[0, 3],
                    key_offsets: &[0, 2],
                    heads: 1,
                    causal: false,
                    out: &mut out,
                })
                .err(),
        ),
        (
            "attention",
            device
                .attention(AttentionArgs {
                    queries: &zeros(2, 3),
                    keys_values: &zeros(1, 6),
                    query_offsets: &[0, 2],
                    key_offsets: &[0, 1],
                    heads: 1,
                    causal: false,
                    out: &mut out,
                })
                .err(),
        ),
        (
            "embed_tokens",
            device
                .embed_tokens(EmbedTokensArgs {
                    tokens: &[0, 9],
                    offsets: &[0, 2],
                    table: &zeros(9, 3),
                    positions: &zeros(5, 3),
                    out: &mut out,
                })
                .err(),
        ),
        (
            "embed_tokens",
            device
                .embed_tokens(EmbedTokensArgs {
                    tokens: &[0, 1],
                    offsets: &[0, 2],
                    table: &zeros(9, 3),
                    positions: &zeros(1, 3),
                    out: &mut out,
                })
                .err(),
        ),
        (
            "add_positions",
            device
                .add_positions(AddPositionsArgs {
                    patches: &zeros(2, 3),
                    class: &zeros(1, 3),
                    positions: &zeros(1, 3),
                    out: &mut out,
                })
                .err(),
        ),
        (
            "gather_rows",
            device
                .gather_rows(GatherRowsArgs { input: &zeros(2, 3), rows: &[0, 2], first_row: 0, out: &mut out })
                .err(),
        ),
        (
            "alignment_weights",
            device
                .alignment_weights(AlignmentWeightsArgs {
                    rows: &zeros(2, 3),
                    anchors: &zeros(1, 3),
                    offsets: &[0, 2],
                    scale: f32::NAN,
                    lengths: &mut zeros(1, 1),
                    out: &mut out,
                })
                .err(),
        ),
    ];
    for (kernel, error) in errors {
        let message = error.unwrap_or_else(|| panic!("{kernel} took a wrong shape")).to_string();
        assert!(message.starts_with(kernel), "{message}");
    }
    assert_eq!(device.download(&out).unwrap(), [7.0; 6]);
}
