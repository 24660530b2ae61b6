//! Layers on small whole numbers: every sum is exact in any order, and so the results are the reference's bit for bit,
//! however deep the layer is and in whatever blocks it is summed.

use super::activations::{activation, empty};
use super::{Pair, close, epilogues, numbers, pair, run, supports, with_data};
use crossalign::backend::args::LinearArgs;
use crossalign::backend::{Backend, Epilogue, Precision, Reference, Shape};
use half::f16;
use proptest::prelude::*;

/// Numbers spread evenly between −1 and 1.
pub fn even(seed: u64, count: usize) -> Vec<f32> {
    numbers(seed / 7 * 7 + 4, count)
}

/// Whole numbers of −3 ..= 3, one in each row ±127: a unit of int8 stands for 1 then, and every precision holds them.
fn whole(seed: u64, shape: Shape) -> Vec<f32> {
    let mut data: Vec<f32> = even(seed, shape.len()).into_iter().map(|x| (x * 4.0).trunc()).collect();
    for (i, row) in data.chunks_exact_mut(shape.cols).enumerate() {
        let at = (seed % 1000) as usize + i * 7919;
        row[at % shape.cols] = if at.is_multiple_of(3) { -127.0 } else { 127.0 };
    }
    data
}

/// Depths of MLPs and attention in ViT-B to ViT-H, and odd ones beyond one and beyond two summation blocks of any
/// backend.
pub fn deep_linear<B: Backend>(device: &B) {
    let outputs = prop_oneof![1usize..20, 60usize..70];
    let depths =
        prop_oneof![Just(3072usize), Just(4096), 769usize..1100, 1537usize..1700, 3073usize..3300, 3900usize..4096];
    exact(
        device,
        5,
        (1usize..15, outputs, depths),
        &[Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8],
    );
}

/// Layers stored in f16 of one and of several tiles on each side.
pub fn linear_in_f16<B: Backend>(device: &B) {
    let rows = prop_oneof![1usize..40, 60usize..200];
    exact(device, 12, (rows, prop_oneof![1usize..20, 60usize..140], 1usize..150), &[Precision::F16]);
}

/// Tests layers of these rows, outputs and inputs.
fn exact<B: Backend>(
    device: &B,
    cases: u32,
    sizes: impl Strategy<Value = (usize, usize, usize)>,
    precisions: &[Precision],
) {
    let strategy = (sizes, epilogues(), any::<bool>(), any::<u64>());
    run(cases, strategy, |((rows, outputs, inputs), epilogue, narrow, seed)| {
        for &precision in precisions.iter().filter(|&&precision| supports(device, precision)) {
            // f16 activations go with f16 weights only; tensor cores are used for these alone.
            let narrow = narrow && precision == Precision::F16;
            let upload = |shape, data: &[f32]| match narrow {
                true => activation(device, shape, data),
                false => device.upload(shape, data).unwrap(),
            };
            let (shape, in_shape, out_shape) =
                (Shape::new(outputs, inputs), Shape::new(rows, inputs), Shape::new(rows, outputs));
            let bias: Vec<f32> = even(seed ^ 5, outputs).into_iter().map(|x| (x * 100.0).trunc()).collect();
            let (weight, data) = (whole(seed, shape), whole(seed ^ 8, in_shape));
            let layer = device.pack(shape, &weight, Some(&bias), precision).unwrap();
            let input = upload(in_shape, &data);
            let reference_layer = Reference.pack(shape, &weight, Some(&bias), precision).unwrap();
            let reference_input = Reference.upload(in_shape, &data).unwrap();
            let product = |epilogue, out: &mut Pair<B>| {
                device.linear(LinearArgs { input: &input, layer: &layer, epilogue, out: &mut out.found }).unwrap();
                Reference
                    .linear(LinearArgs {
                        input: &reference_input,
                        layer: &reference_layer,
                        epilogue,
                        out: &mut out.expected,
                    })
                    .unwrap();
            };
            let mut out = with_data(device, out_shape, whole(seed ^ 16, out_shape));
            product(if epilogue == Epilogue::Accumulate { epilogue } else { Epilogue::Store }, &mut out);
            close(device, &out, |_| 0.0)?;
            if let Epilogue::Activate(_) = epilogue {
                // The activation's input is exact: what is left is its own rounding, and erf's error of 1.5e-7.
                let mut activated = pair(device, out_shape, seed);
                product(epilogue, &mut activated);
                let before = out.expected.data();
                close(device, &activated, |i| before[i].abs() * 2e-6 + 1e-6)?;
            }
            if narrow && epilogue != Epilogue::Accumulate {
                let mut rounded = empty(device, out_shape);
                device
                    .linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut rounded })
                    .unwrap();
                let halves = |data: &[f32]| data.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
                prop_assert_eq!(halves(&device.download(&rounded).unwrap()), halves(out.expected.data()));
            }

            // Batch invariance, on numbers whose sums depend on the order.
            let (data, weight) = (even(seed ^ 32, in_shape.len()), even(seed ^ 64, shape.len()));
            let layer = device.pack(shape, &weight, Some(&bias), precision).unwrap();
            let product = |rows: std::ops::Range<usize>| {
                let input = upload(Shape::new(rows.len(), inputs), &data[rows.start * inputs..rows.end * inputs]);
                let mut out = device.allocate(Shape::new(rows.len(), outputs)).unwrap();
                device
                    .linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut out })
                    .unwrap();
                device.download(&out).unwrap()
            };
            let (row, together) = (seed as usize % rows, product(0..rows));
            prop_assert_eq!(&product(row..row + 1), &together[row * outputs..][..outputs]);
        }
        Ok(())
    });
}

/// Weights halfway between two that a precision represents round to the even one; the smallest and the largest stay.
pub fn weights_round_to_even<B: Backend>(device: &B) {
    let steps = |first: f32, step: f32| (0..8).map(move |i| first + i as f32 * step);
    let halfway_of_bf16 = steps(1.0, 1.0 / 256.0);
    let halfway_of_f16 = steps(1.0, 1.0 / 2048.0);
    let subnormal = steps(0.0, 1.0 / (1 << 25) as f32);
    let weights: Vec<f32> = halfway_of_bf16.chain(halfway_of_f16).chain(subnormal).flat_map(|w| [w, -w]).collect();
    let (shape, one) = (Shape::new(weights.len(), 1), Shape::new(1, weights.len()));
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        let mut out = pair(device, one, 3);
        let layer = device.pack(shape, &weights, None, precision).unwrap();
        device
            .linear(LinearArgs {
                input: &device.upload(Shape::new(1, 1), &[1.0]).unwrap(),
                layer: &layer,
                epilogue: Epilogue::Store,
                out: &mut out.found,
            })
            .unwrap();
        let layer = Reference.pack(shape, &weights, None, precision).unwrap();
        let input = Reference.upload(Shape::new(1, 1), &[1.0]).unwrap();
        Reference
            .linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut out.expected })
            .unwrap();
        close(device, &out, |_| 0.0).unwrap();
    }
}
