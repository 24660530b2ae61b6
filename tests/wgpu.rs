//! Every kernel of the WebGPU backend against the reference backend, and the reference set end to end, on the first
//! adapter, which on a machine without a GPU is a software driver.
//!
//! Where there is no Vulkan driver the tests are reported as ignored; where there is one and it gives no adapter they
//! fail.
#![cfg(feature = "wgpu")]

mod common;
mod cooperative;
mod properties;

use crossalign::backend::args::{
    AddPositionsArgs, AlignmentWeightsArgs, EmbedTokensArgs, GatherRowsArgs, L2NormalizeArgs, LayerNormArgs,
    LinearArgs, WeightedSimilarityArgs,
};
use crossalign::backend::{
    Backend, Dispatch, Epilogue, Precision, Profile, Reduction, Reference, Rgb, Shape, Wgpu, WgpuTensor,
};
use crossalign::engine::ModelOptions;
use crossalign::image::{CropBox, Resize, ViewSampling, plan_views, resampled};
use crossalign::model::{Config, PictureViews};
use crossalign::{Model, Picture, Views};

/// Each kernel with the bindings that the adapter gives and two workgroups a dimension, so that all dimensions count, by
/// large tiles and with indices and loops checked as it runs; and as it is shipped, unchecked, with bindings so small (in KiB) that it must split
/// its work, where rows seldom begin at a binding's start.
macro_rules! kernels {
    ($device:ident: $($kernel:ident: $binding:literal),+ $(,)?) => {
        mod whole {
            $(#[machine::has(vulkan)]
            #[test]
            fn $kernel() {
                let device = super::$device().with_runtime_checks().with_multiprocessors(1);
                crate::properties::$kernel(&device.with_max_groups(2).unwrap());
            })+
        }
        mod split {
            $(#[machine::has(vulkan)]
            #[test]
            fn $kernel() {
                let device = super::$device().with_max_binding($binding << 10).unwrap();
                crate::properties::$kernel(&device.with_alignment(256).unwrap().with_max_groups(3).unwrap());
            })+
        }
    };
}

kernels! { first:
    linear: 32,
    layer_norm: 8,
    attention: 96,
    embed: 4,
    gather_rows: 4,
    l2_normalize: 4,
    alignment_weights: 32,
    weighted_similarity: 32,
    crop_resize: 32,
    contract: 4,
    linear_of_activations: 32,
    attention_of_activations: 320,
    attention_beside_infinities: 256,
    rows_of_activations: 16,
    deep_linear: 160,
    linear_in_f16: 16,
    weights_round_to_even: 4,
    l2_normalize_of_any_length: 4,
    alignment_weights_at_any_scale: 64,
    attention_of_large_scores: 160,
    attention_of_large_scores_of_activations: 160,
}

/// Split as large dispatches are, so that none runs long.
mod bounded {
    use crate::properties;

    fn device(flops: u64) -> crossalign::backend::Wgpu {
        super::first().with_max_flops(flops)
    }

    #[machine::has(vulkan)]
    #[test]
    fn linear() {
        properties::linear(&device(500_000));
    }

    #[machine::has(vulkan)]
    #[test]
    fn attention() {
        properties::attention(&device(5000));
    }

    #[machine::has(vulkan)]
    #[test]
    fn alignment_weights() {
        properties::alignment_weights(&device(5000));
    }

    #[machine::has(vulkan)]
    #[test]
    fn weighted_similarity() {
        properties::weighted_similarity(&device(5000));
    }
}

/// The kernels on cooperative matrices, emulated in plain WGSL.
mod matrices_of_8 {
    fn emulated() -> crossalign::backend::Wgpu {
        super::first().with_cooperative_source(8, 16, crate::cooperative::source(8, 16)).unwrap()
    }
    kernels! { emulated: linear_in_f16: 24 }
}

mod matrices_of_16 {
    fn emulated() -> crossalign::backend::Wgpu {
        super::first().with_cooperative_source(16, 32, crate::cooperative::source(16, 32)).unwrap()
    }
    kernels! { emulated: linear_in_f16: 24 }
}

fn first() -> Wgpu {
    Wgpu::new(Some(0)).unwrap()
}

/// More rows than a dispatch may have workgroups side by side. A software driver would be long over so many of `attention`
/// and `linear`: their further dimensions are reached by `with_max_groups` alone.
#[machine::has(vulkan)]
#[test]
fn more_rows_than_a_dimension_has_workgroups() {
    const MOST: usize = 65_535;
    let (device, rows) = (first(), MOST + 3);
    // Distinct small whole numbers, for some thousands of neighbours.
    let numbers = |count: usize| (0..count).map(|i| (i % 4093) as f32 - 2000.5).collect::<Vec<_>>();
    let data = numbers(rows);
    let upload = |rows: usize, cols, data: &[f32]| device.upload(Shape::new(rows, cols), data).unwrap();
    let column = || upload(rows, 1, &data);
    let (one, indices): (_, Vec<u32>) = (upload(1, 1, &[1.0]), (0..rows as u32).rev().collect());
    let offsets: Vec<u32> = (0..=rows as u32).collect();
    let pairs: Vec<f32> = data.iter().flat_map(|&x| [x, x + 1.0]).collect();
    let same = |kernel: &str, found: &WgpuTensor, expected: &[f32]| {
        assert!(device.download(found).unwrap() == expected, "{kernel}");
    };
    let empty = || upload(rows, 1, &vec![7.0; rows]);

    let mut out = empty();
    device.gather_rows(GatherRowsArgs { input: &column(), rows: &indices, first_row: 0, out: &mut out }).unwrap();
    same("gather_rows", &out, &data.iter().rev().copied().collect::<Vec<_>>());
    let mut out = empty();
    let one_row = upload(1, 1, &[0.25]);
    device
        .embed_tokens(EmbedTokensArgs {
            tokens: &indices,
            offsets: &offsets,
            table: &column(),
            positions: &one_row,
            out: &mut out,
        })
        .unwrap();
    same("embed_tokens", &out, &data.iter().rev().map(|x| x + 0.25).collect::<Vec<_>>());
    let mut out = upload(rows / 2 * 2, 1, &vec![7.0; rows / 2 * 2]);
    let patches = upload(rows / 2, 1, &data[..rows / 2]);
    device
        .add_positions(AddPositionsArgs {
            patches: &patches,
            class: &one,
            positions: &upload(2, 1, &[0.0, 0.25]),
            out: &mut out,
        })
        .unwrap();
    same("add_positions", &out, &data[..rows / 2].iter().flat_map(|&x| [1.0, x + 0.25]).collect::<Vec<_>>());
    let mut out = column();
    device.l2_normalize(L2NormalizeArgs { tensor: &mut out }).unwrap();
    same("l2_normalize", &out, &data.iter().map(|x| x.signum()).collect::<Vec<_>>());
    // The larger of two is a spread above their mean.
    let mut out = upload(rows, 2, &vec![7.0; 2 * rows]);
    let (scale, shift) = (upload(1, 2, &[0.0; 2]), upload(1, 2, &[0.5, 0.25]));
    device
        .layer_norm(LayerNormArgs {
            input: &upload(rows, 2, &pairs),
            gamma: &scale,
            beta: &shift,
            eps: 1e-5,
            out: &mut out,
        })
        .unwrap();
    same("layer_norm", &out, &[0.5, 0.25].repeat(rows));
    let mut out = upload(1, rows, &vec![7.0; rows]);
    device
        .alignment_weights(AlignmentWeightsArgs {
            rows: &column(),
            anchors: &column(),
            offsets: &offsets,
            scale: 1.0,
            lengths: &mut device.allocate(Shape::new(1, offsets.len() - 1)).unwrap(),
            out: &mut out,
        })
        .unwrap();
    same("alignment_weights", &out, &vec![1.0; rows]);
    let mut out = upload(1, rows, &vec![7.0; rows]);
    let texts = device.pack(Shape::new(rows, 1), &data, None, Precision::F32).unwrap();
    let weights = upload(1, rows, &vec![2.0; rows]);
    device
        .weighted_similarity(WeightedSimilarityArgs {
            views: &one,
            view_weights: &one,
            texts: &texts,
            text_weights: &weights,
            pictures: &[0, 1],
            classes: &offsets,
            reduction: Reduction::WeightedMean,
            out: &mut out,
        })
        .unwrap();
    same("weighted_similarity", &out, &data.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
}

/// Limits that the adapter does not have are refused.
#[machine::has(vulkan)]
#[test]
fn wrong_limits_are_errors() {
    for groups in [0, 65_536] {
        assert!(first().with_max_groups(groups).unwrap_err().to_string().contains("workgroups"), "{groups}");
    }
    for alignment in [0, 1, 8192] {
        assert!(first().with_alignment(alignment).unwrap_err().to_string().contains("alignment"), "{alignment}");
    }
    for binding in [4095, u64::MAX] {
        assert!(first().with_max_binding(binding).unwrap_err().to_string().contains("binding"), "{binding}");
    }
    assert!(first().with_cooperative_source(4, 32, String::new()).is_err());
}

/// A picture of many bindings, for one view after the other.
#[machine::has(vulkan)]
#[test]
fn a_large_picture_goes_in_parts() {
    let pixels = common::noise(301, 199, 5);
    let picture = Rgb::new(301, 199, &pixels).unwrap();
    let boxes = [CropBox::new(0, 0, 301, 199), CropBox::new(7, 100, 90, 90), CropBox::new(300, 198, 1, 1)];
    let plan = plan_views((301, 199), &boxes, 30, Resize::ShortestEdge).unwrap();
    let expected = resampled(&Reference, picture, &plan).unwrap();
    assert!(resampled(&first(), picture, &plan).unwrap() == expected);
    let device = first().with_max_binding(12 << 10).unwrap();
    assert!(resampled(&device, picture, &plan).unwrap() == expected);
    let error = resampled(
        &device,
        Rgb::new(5000, 1, &pixels[..15000]).unwrap(),
        &plan_views((5000, 1), &[], 3, Resize::ShortestEdge).unwrap(),
    );
    assert!(error.unwrap_err().to_string().contains("15000 bytes a row"));
}

/// A picture's views are as many dispatches as their work takes.
#[machine::has(vulkan)]
#[test]
fn views_are_dispatched_by_their_work() {
    let pixels = common::noise(301, 199, 5);
    let picture = Rgb::new(301, 199, &pixels).unwrap();
    let boxes: Vec<CropBox> = (0..40).map(|i| CropBox::new(i, i, 150, 150)).collect();
    let plan = plan_views((301, 199), &boxes, 30, Resize::ShortestEdge).unwrap();
    let crop = |device: &Wgpu| {
        let mut found = Vec::new();
        let profile = device.profile(&mut || found = resampled(device, picture, &plan).unwrap()).unwrap();
        let crops = profile.dispatches.iter().filter(|dispatch| dispatch.kernel == "crop_resize");
        (found, crops.map(|dispatch| dispatch.work.flops).collect::<Vec<_>>())
    };
    let (expected, whole) = crop(&first());
    assert_eq!(whole.len(), 1);
    for bound in [1, whole[0] / 7] {
        let (found, parts) = crop(&first().with_max_flops(bound));
        assert!(found == expected && parts.iter().sum::<u64>() == whole[0]);
        assert!(if bound == 1 { parts.len() == 41 } else { parts.iter().all(|&part| part <= bound) }, "{parts:?}");
    }
}

/// A real architecture, on random weights, is the same on the GPU and on the CPU.
#[machine::has(vulkan)]
#[test]
fn vit_b_32_agrees_with_the_cpu() {
    let pixels = common::noise(320, 240, 9);
    let picture = Rgb::new(320, 240, &pixels).unwrap();
    let boxes = [CropBox::new(0, 0, 120, 120), CropBox::new(60, 50, 180, 180), CropBox::new(10, 20, 200, 200)];
    let plan = plan_views((320, 240), &boxes, 224, Resize::ShortestEdge).unwrap();
    let encode = |device: &str| {
        let options = ModelOptions::default().with_device(device.parse().unwrap());
        let model = Model::random(Config::named("ViT-B-32").unwrap(), &options).unwrap();
        let (found, profile) = model.profile(|| model.encode_views(&[PictureViews { picture, plan: &plan }], true));
        (found.unwrap(), profile)
    };
    let ((found, profile), (expected, none)) = (encode("wgpu:0"), encode("cpu"));
    assert!(none.is_none());
    layers_as_documented(&profile.unwrap());
    for (found, expected) in found.rows().zip(expected.rows()) {
        let cosine: f32 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!(cosine >= 0.9999, "cosine {cosine}");
    }
}

/// Pictures whose views are cut into several forward passes are one submission all the same, with the bits of one pass.
#[machine::has(vulkan)]
#[test]
fn a_batch_is_one_submission() {
    let reference = common::Reference::golden();
    let pictures: Vec<Picture> = (0..3).map(|i| Picture::new(40, 31, common::noise(40, 31, i)).unwrap()).collect();
    let views = Views::Sampled(ViewSampling { count: 4, ..Default::default() });
    let classify = |views_at_once| {
        let options = ModelOptions::default().with_device("wgpu:0".parse().unwrap()).with_views_at_once(views_at_once);
        let model = common::load(&reference.models()[2], options);
        let classifier = model.compile(&reference.prompts(), &Default::default()).unwrap().with_views(views.clone());
        let pictures: Vec<&Picture> = pictures.iter().collect();
        let (results, profile) = model.profile(|| classifier.classify_batch(&pictures).unwrap());
        let profile = profile.unwrap();
        assert_eq!(profile.submissions, 1);
        let crops = profile.dispatches.iter().filter(|dispatch| dispatch.kernel == "crop_resize").count();
        (results, crops)
    };
    let (whole, cut) = (classify(0), classify(4));
    assert_eq!(whole.0, cut.0);
    // 15 views, four at a time, of five a picture.
    assert_eq!((whole.1, cut.1), (3, 6));
}

/// What a layer takes stands in kernels/README.md, as `crossalign bench` prints it.
fn layers_as_documented(profile: &Profile) {
    assert!(profile.submissions > 1 && profile.largest_submission <= 20_000_000_000, "{profile:?}");
    let attention = |dispatch: &Dispatch| dispatch.kernel == "attention";
    let first = profile.dispatches.iter().position(attention).unwrap();
    let length = profile.dispatches[first + 1..].iter().position(attention).unwrap() + 1;
    let layer = &profile.dispatches[first..first + length];
    let readme = std::fs::read_to_string("kernels/README.md").unwrap();
    for kernel in ["layer_norm", "linear", "attention", ""] {
        let its: Vec<&Dispatch> = layer.iter().filter(|dispatch| dispatch.kernel.starts_with(kernel)).collect();
        let bytes: u64 = its.iter().map(|dispatch| dispatch.work.bytes).sum();
        let flops: u64 = its.iter().map(|dispatch| dispatch.work.flops).sum();
        let name = if kernel.is_empty() { "all".into() } else { format!("`{kernel}`") };
        let row = format!("| {name} | {} | {:.2} | {:.3} |", its.len(), bytes as f64 / 1e6, flops as f64 / 1e9);
        assert!(readme.contains(&row), "kernels/README.md has no row {row}");
    }
}

/// Of ViT-B/32, the products of 61 views in the MLP and the projection are computed by large tiles; a view's and the smallest,
/// which would leave multiprocessors idle, by small ones.
#[machine::has(vulkan)]
#[test]
fn large_tiles_are_for_products_that_fill_the_gpu() {
    let kernel = |multiprocessors, rows: usize, cols: usize| {
        let device = first().with_multiprocessors(multiprocessors);
        let input = device.allocate(Shape::new(rows, 1)).unwrap();
        let layer = device.pack(Shape::new(cols, 1), &vec![0.0; cols], None, Precision::F32).unwrap();
        let mut out = device.allocate(Shape::new(rows, cols)).unwrap();
        let mut linear = || {
            let args = LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut out };
            device.linear(args).and_then(|()| device.flush()).unwrap();
        };
        device.profile(&mut linear).unwrap().dispatches[0].kernel
    };
    for ([rows, cols], side) in
        [([3050, 3072], 128), ([3050, 768], 128), ([50, 3072], 64), ([61, 512], 64), ([1, 1], 64)]
    {
        assert_eq!(kernel(128, rows, cols), format!("linear_{side}x{side}"), "{rows}×{cols}");
    }
    assert_eq!(kernel(1, 1, 1), "linear_128x128");
}

#[machine::has(vulkan)]
#[test]
fn adapters_are_numbered() {
    let adapters = Wgpu::adapters();
    assert!(!adapters.is_empty(), "a Vulkan driver is installed, and no adapter is found");
    assert!(adapters.iter().enumerate().all(|(i, adapter)| adapter.index == i));
    assert!(adapters.is_sorted_by_key(|adapter| adapter.software), "real GPUs come first");
    let error = Wgpu::new(Some(adapters.len())).unwrap_err().to_string();
    assert!(error.contains(&format!("wgpu:{}", adapters.len())), "{error}");
    assert!(Wgpu::new(Some(0)).unwrap().describe().starts_with("wgpu:0: "));
    // Software is never taken unasked.
    if adapters[0].software {
        let error = Wgpu::new(None).unwrap_err().to_string();
        assert!(error.contains("software"), "{error}");
    }
}
