//! The kernels on f16 activations: results are off by the rounding of what is stored, and no more. Devices that keep
//! activations in f32 stay well within the same bounds.

use super::{epilogues, layer_norm_bounds, numbers, rounding, run};
use crossalign::backend::args::{
    AddPositionsArgs, AttentionArgs, EmbedTokensArgs, GatherRowsArgs, LayerNormArgs, LinearArgs,
};
use crossalign::backend::{Backend, Epilogue, Precision, Reference, Shape};
use half::f16;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// The relative rounding error of a normal f16, and the absolute one of a subnormal.
const RELATIVE: f32 = 1.0 / 2048.0;
const ABSOLUTE: f32 = 1.0 / (1 << 25) as f32;

/// Numbers of magnitude 1 at most, each an f16.
fn halves(seed: u64, count: usize) -> Vec<f32> {
    let data = numbers(seed, count);
    let largest = data.iter().fold(1f32, |max, x| max.max(x.abs()));
    data.into_iter().map(|x| f16::from_f32(x / largest).to_f32()).collect()
}

/// An activation in f16 that holds `data`.
pub fn activation<B: Backend>(device: &B, shape: Shape, data: &[f32]) -> B::Tensor {
    let mut tensor = empty(device, shape);
    let rows: Vec<u32> = (0..shape.rows as u32).collect();
    device
        .gather_rows(GatherRowsArgs {
            input: &device.upload(shape, data).unwrap(),
            rows: &rows,
            first_row: 0,
            out: &mut tensor,
        })
        .unwrap();
    tensor
}

/// An activation in f16 to write to.
pub fn empty<B: Backend>(device: &B, shape: Shape) -> B::Tensor {
    let mut tensor = device.activation(Precision::F16).unwrap();
    device.reshape(&mut tensor, shape).unwrap();
    tensor
}

/// Fails unless each element is within its bound and, if `narrow`, the rounding of an f16.
fn close(found: &[f32], expected: &[f32], narrow: bool, bound: impl Fn(usize) -> f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let bound = bound(i) + if narrow { expected.abs() * RELATIVE + ABSOLUTE } else { 0.0 };
        prop_assert!((found - expected).abs() <= bound, "element {i}: {found}, expected {expected} within {bound}");
    }
    Ok(())
}

/// Fails unless each element is the sum as a tensor stores it; devices that keep activations in f32 have the sum.
fn rounded(found: &[f32], sums: &[f32], stored: impl Fn(f32) -> f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), sums.len());
    for (found, &sum) in found.iter().zip(sums) {
        prop_assert!(*found == stored(sum) || *found == sum, "{found}, expected {} for {sum}", stored(sum));
    }
    Ok(())
}

pub fn linear<B: Backend>(device: &B) {
    let rows = prop_oneof![3 => 1usize..40, 2 => 60usize..150];
    let sizes = (rows, prop_oneof![1usize..20, 60usize..140], prop_oneof![1usize..150, 760usize..780]);
    run(120, (sizes, epilogues(), any::<bool>(), any::<u64>()), |((rows, outputs, inputs), epilogue, narrow, seed)| {
        let (shape, out_shape) = (Shape::new(outputs, inputs), Shape::new(rows, outputs));
        let input = halves(seed, rows * inputs);
        let (weight, bias) = (halves(seed ^ 2, shape.len()), halves(seed ^ 3, outputs));
        let before = halves(seed ^ 4, out_shape.len());
        let mut expected = Reference.upload(out_shape, &before).unwrap();
        let stored = |before: &[f32], shape| {
            if narrow { activation(device, shape, before) } else { device.upload(shape, before).unwrap() }
        };
        let mut found = stored(&before, out_shape);

        let layer = device.pack(shape, &weight, Some(&bias), Precision::F16).unwrap();
        let x = activation(device, Shape::new(rows, inputs), &input);
        device.linear(LinearArgs { input: &x, layer: &layer, epilogue, out: &mut found }).unwrap();
        let layer = Reference.pack(shape, &weight, Some(&bias), Precision::F16).unwrap();
        let x = Reference.upload(Shape::new(rows, inputs), &input).unwrap();
        Reference.linear(LinearArgs { input: &x, layer: &layer, epilogue, out: &mut expected }).unwrap();
        let bound = 2.0 * rounding(inputs) * (inputs as f32 + 2.0);
        // The product that is added to f16 may be rounded before.
        let rounded_before = |i: usize| {
            let product = expected.data()[i] - before[i];
            if narrow && epilogue == Epilogue::Accumulate { product.abs() * RELATIVE + ABSOLUTE } else { 0.0 }
        };
        let found = device.download(&found).unwrap();
        close(&found, expected.data(), narrow, |i| bound + rounded_before(i))?;

        // A row alone gives the same bits as in the batch.
        let row = seed as usize % rows;
        let alone = activation(device, Shape::new(1, inputs), &input[row * inputs..][..inputs]);
        let mut single = stored(&before[row * outputs..][..outputs], Shape::new(1, outputs));
        let layer = device.pack(shape, &weight, Some(&bias), Precision::F16).unwrap();
        device.linear(LinearArgs { input: &alone, layer: &layer, epilogue, out: &mut single }).unwrap();
        prop_assert_eq!(device.download(&single).unwrap(), &found[row * outputs..][..outputs]);
        Ok(())
    });
}

pub fn attention<B: Backend>(device: &B) {
    let heads = prop_oneof![Just((3usize, 64usize)), Just((3, 32)), Just((2, 80)), Just((1, 128)), Just((4, 5))];
    let lengths =
        prop::collection::vec(prop_oneof![3 => (1u32..=70, 0u32..=70), 1 => (100u32..=200, 0u32..=200)], 1..4);
    run(50, (heads, lengths, any::<bool>(), any::<u64>()), |((heads, dim), lengths, causal, seed)| {
        let width = heads * dim;
        let (mut q, mut k) = (vec![0u32], vec![0u32]);
        for (keys, queries) in &lengths {
            k.push(k.last().unwrap() + keys);
            q.push(q.last().unwrap() + queries.min(keys));
        }
        let (rows, all) = (*q.last().unwrap() as usize, *k.last().unwrap() as usize);
        let (shape, key_shape) = (Shape::new(rows, width), Shape::new(all, 2 * width));
        let queries = halves(seed, shape.len());
        let keys_values = halves(seed ^ 2, key_shape.len());
        let mut expected = Reference.allocate(shape).unwrap();
        let upload = |shape, data: &[f32]| Reference.upload(shape, data).unwrap();
        let (a, b) = (upload(shape, &queries), upload(key_shape, &keys_values));
        Reference
            .attention(AttentionArgs {
                queries: &a,
                keys_values: &b,
                query_offsets: &q,
                key_offsets: &k,
                heads,
                causal,
                out: &mut expected,
            })
            .unwrap();

        let mut found = empty(device, shape);
        let (a, b) = (activation(device, shape, &queries), activation(device, key_shape, &keys_values));
        device
            .attention(AttentionArgs {
                queries: &a,
                keys_values: &b,
                query_offsets: &q,
                key_offsets: &k,
                heads,
                causal,
                out: &mut found,
            })
            .unwrap();
        let found = device.download(&found).unwrap();
        // The weights are rounded to f16 before they are multiplied with the values, of magnitude 1.
        let bound = 2.0 * RELATIVE + 4.0 * rounding(dim) * (dim as f32).sqrt() + 2.0 * rounding(all);
        close(&found, expected.data(), true, |_| bound)?;

        // The last sequence alone gives the same bits as in the batch.
        let s = lengths.len() - 1;
        let (count, seen) = (q[s + 1] - q[s], k[s + 1] - k[s]);
        let part = |data: &[f32], start: u32, rows: u32, width: usize| {
            data[start as usize * width..(start + rows) as usize * width].to_vec()
        };
        let of = |rows: u32, width| Shape::new(rows as usize, width);
        let a = activation(device, of(count, width), &part(&queries, q[s], count, width));
        let b = activation(device, of(seen, 2 * width), &part(&keys_values, k[s], seen, 2 * width));
        let mut alone = empty(device, of(count, width));
        device
            .attention(AttentionArgs {
                queries: &a,
                keys_values: &b,
                query_offsets: &[0, count],
                key_offsets: &[0, seen],
                heads,
                causal,
                out: &mut alone,
            })
            .unwrap();
        prop_assert_eq!(device.download(&alone).unwrap(), part(&found, q[s], count, width));
        Ok(())
    });
}

/// A sequence gives the bits that it has alone where infinities lie behind it, whatever its last block of keys.
pub fn attention_beside_infinities<B: Backend>(device: &B) {
    let (heads, dim) = (3, 64);
    let width = heads * dim;
    for keys in [1, 15, 16, 17, 49, 63, 64, 65, 80, 81, 145u32] {
        let others = 70;
        // None is small, so that a lost key shows.
        let wave = |step: f32, width: usize| -> Vec<f32> {
            let count = (keys + others) as usize * width;
            (0..count).map(|i| f16::from_f32((i as f32 * step).sin()).to_f32()).collect()
        };
        let (queries, mut keys_values) = (wave(0.37, width), wave(0.73, 2 * width));
        keys_values[keys as usize * 2 * width..].fill(f32::INFINITY);
        let attend = |offsets: &[u32]| {
            let shape = |width| Shape::new(*offsets.last().unwrap() as usize, width);
            let a = activation(device, shape(width), &queries[..shape(width).len()]);
            let b = activation(device, shape(2 * width), &keys_values[..shape(2 * width).len()]);
            let mut out = empty(device, shape(width));
            let (query_offsets, key_offsets) = (offsets, offsets);
            let args = AttentionArgs {
                queries: &a,
                keys_values: &b,
                query_offsets,
                key_offsets,
                heads,
                causal: false,
                out: &mut out,
            };
            device.attention(args).unwrap();
            device.download(&out).unwrap()
        };
        let alone = attend(&[0, keys]);
        assert!(alone.iter().all(|x| x.is_finite()), "{keys} keys");
        assert_eq!(attend(&[0, keys, keys + others])[..alone.len()], alone, "{keys} keys");
        // A mean of values, with weights that are 0 for none.
        let value = |query: usize, column: usize| {
            let score = |key: usize| {
                let head = column / dim * dim;
                let q = &queries[query * width + head..][..dim];
                let k = &keys_values[key * 2 * width + head..][..dim];
                q.iter().zip(k).map(|(q, k)| f64::from(q * k)).sum::<f64>() / (dim as f64).sqrt()
            };
            let weights: Vec<f64> = (0..keys as usize).map(|key| score(key).exp()).collect();
            let values = (0..keys as usize).map(|key| f64::from(keys_values[key * 2 * width + width + column]));
            weights.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>() / weights.iter().sum::<f64>()
        };
        for query in [0, keys as usize - 1] {
            for column in [0, 63, 64, 191] {
                let (found, expected) = (alone[query * width + column], value(query, column) as f32);
                assert!((found - expected).abs() <= 4.0 * RELATIVE, "{keys} keys: {found}, expected {expected}");
            }
        }
    }
}

/// Each kernel on a whole row, with f16 and with f32 on either side.
pub fn rows<B: Backend>(device: &B) {
    let widths = prop_oneof![3 => 1usize..100, 1 => super::wide_rows()];
    let sides = (any::<bool>(), any::<bool>());
    run(100, (1usize..20, widths, sides, any::<u64>()), |(rows, width, (narrow_input, narrow), seed)| {
        // The tables of positions are whole in a binding, which may be as small as 4,096 elements here.
        let rows = rows.min(4096 / width - 1);
        let (shape, one) = (Shape::new(rows, width), Shape::new(1, width));
        let data = halves(seed, shape.len());
        let gamma = halves(seed ^ 2, width);
        let upload = |shape, data: &[f32]| device.upload(shape, data).unwrap();
        let reference = |shape, data: &[f32]| Reference.upload(shape, data).unwrap();
        let input = |data: &[f32]| if narrow_input { activation(device, shape, data) } else { upload(shape, data) };
        let out = |shape| if narrow { empty(device, shape) } else { device.allocate(shape).unwrap() };
        let read = |tensor: &B::Tensor| device.download(tensor).unwrap();

        // Offsets that an f16 holds, and some that only an f32 does.
        let offset = [0.0, if narrow_input { 16.0 } else { 4096.0 }][seed as usize % 2];
        let round = |x: f32| if narrow_input { f16::from_f32(x).to_f32() } else { x };
        let offset_data: Vec<f32> = data.iter().map(|x| round(x + offset)).collect();
        let g = upload(one, &gamma);
        let mut found = out(shape);
        let args = LayerNormArgs { input: &input(&offset_data), gamma: &g, beta: &g, eps: 1e-5, out: &mut found };
        device.layer_norm(args).unwrap();
        let mut expected = Reference.allocate(shape).unwrap();
        let (x, g) = (reference(shape, &offset_data), reference(one, &gamma));
        Reference.layer_norm(LayerNormArgs { input: &x, gamma: &g, beta: &g, eps: 1e-5, out: &mut expected }).unwrap();
        let bounds = layer_norm_bounds(&offset_data, 1e-5, &gamma, &gamma);
        close(&read(&found), expected.data(), narrow, |i| bounds[i])?;

        // Copies are exact, and sums are rounded once.
        let chosen: Vec<u32> = (0..7).map(|i| (seed as u32 ^ (i * 5)) % rows as u32).collect();
        let mut found = out(Shape::new(7, width));
        let args = GatherRowsArgs { input: &input(&data), rows: &chosen, first_row: 0, out: &mut found };
        device.gather_rows(args).unwrap();
        let expected: Vec<f32> =
            chosen.iter().flat_map(|&row| &data[row as usize * width..][..width]).copied().collect();
        prop_assert_eq!(read(&found), expected);

        let positions = numbers(seed ^ 3, (rows + 1) * width);
        let places = Shape::new(rows + 1, width);
        let stored = |sum: f32| if narrow { f16::from_f32(sum).to_f32() } else { sum };
        let mut found = out(places);
        let args = AddPositionsArgs {
            patches: &input(&data),
            class: &upload(one, &gamma),
            positions: &upload(places, &positions),
            out: &mut found,
        };
        device.add_positions(args).unwrap();
        let sums = gamma.iter().chain(&data).zip(&positions).map(|(x, position)| x + position);
        rounded(&read(&found), &sums.collect::<Vec<_>>(), stored)?;

        let positions = numbers(seed ^ 4, 2 * width);
        let mut found = out(Shape::new(7, width));
        let args = EmbedTokensArgs {
            tokens: &chosen,
            offsets: &[0, 1, 3, 5, 7],
            table: &upload(shape, &data),
            positions: &upload(Shape::new(2, width), &positions),
            out: &mut found,
        };
        device.embed_tokens(args).unwrap();
        let row_of = |(token, place): (&u32, usize)| {
            let row = &data[*token as usize * width..][..width];
            row.iter().zip(&positions[place * width..]).map(|(x, position)| x + position).collect::<Vec<_>>()
        };
        let sums: Vec<f32> = chosen.iter().zip([0, 0, 1, 0, 1, 0, 1]).flat_map(row_of).collect();
        rounded(&read(&found), &sums, stored)?;
        Ok(())
    });
}
