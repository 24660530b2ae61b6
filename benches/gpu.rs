//! The kernels on one GPU, by its own timestamps: GFLOP/s, GB/s and, through wgpu, their shares of what the adapter can
//! do, measured in the same run.
//!
//! The device is `CROSSALIGN_DEVICE` (one of `crossalign devices`), else the best GPU, else a software adapter. Shapes are
//! those of ViT-B/32 with 61 views, or with one on a software adapter. Bytes are those of the operands, once each. In f16
//! a layer's input is an activation, which CUDA keeps in f16.

#[path = "gpu/ceiling.rs"]
mod ceiling;
mod input;

use ceiling::Ceiling;
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use crossalign::backend::args::{
    AttentionArgs, CropResizeArgs, GatherRowsArgs, LayerNormArgs, LinearArgs, WeightedSimilarityArgs,
};
use crossalign::backend::{
    Activation, Backend, CropJob, CropOutput, Cuda, Epilogue, PatchLayout, Precision, Profile, Reduction, Shape, Wgpu,
};
use crossalign::image::{Resize, ViewSampling, plan_views};
use std::time::{Duration, Instant};

const TOKENS: usize = 50;
const WIDTH: usize = 768;
const HEADS: usize = 12;

struct Bench<'a, B: Backend> {
    criterion: &'a mut Criterion,
    gpu: B,
    ceiling: Option<Ceiling>,
}

impl<B: Backend> Bench<'_, B> {
    fn tensor(&self, rows: usize, cols: usize, variance: f32) -> B::Tensor {
        let data = input::random(rows * cols, variance, (rows * cols) as u64);
        self.gpu.upload(Shape::new(rows, cols), &data).expect("memory")
    }

    /// An activation of unit variance, or an empty one to write to.
    fn activation(&self, rows: usize, cols: usize, precision: Precision) -> B::Tensor {
        let mut tensor = self.gpu.activation(precision).expect("memory");
        self.gpu.reshape(&mut tensor, Shape::new(rows, cols)).expect("memory");
        let all: Vec<u32> = (0..rows as u32).collect();
        self.gpu
            .gather_rows(GatherRowsArgs {
                input: &self.tensor(rows, cols, 1.0),
                rows: &all,
                first_row: 0,
                out: &mut tensor,
            })
            .expect("a valid call");
        tensor
    }

    /// Times what `record` records, on the device; reading a small tensor submits it.
    fn run(&mut self, name: &str, mut record: impl FnMut(&B)) {
        let small = self.tensor(1, 1, 1.0);
        let mut samples = Vec::new();
        let mut total = Profile::default();
        let mut group = self.criterion.benchmark_group("gpu");
        group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(1));
        group.warm_up_time(Duration::from_millis(200));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..iterations {
                    let start = Instant::now();
                    let profile = Backend::profile(&self.gpu, &mut || {
                        record(&self.gpu);
                        self.gpu.download(&small).expect("a device");
                    });
                    let profile = profile.expect("a GPU");
                    // Without timestamps: with submission and read-back.
                    let time: Option<Duration> = profile.dispatches.iter().map(|dispatch| dispatch.time).sum();
                    elapsed += time.unwrap_or(start.elapsed());
                    total = profile;
                }
                samples.push(elapsed.as_secs_f64() / iterations as f64);
                elapsed
            });
        });
        group.finish();
        samples.sort_by(f64::total_cmp);
        let Some(&seconds) = samples.get(samples.len() / 2) else { return };
        let rate = |amount: fn(&crossalign::backend::Dispatch) -> u64| {
            total.dispatches.iter().map(amount).sum::<u64>() as f64 / seconds / 1e9
        };
        let (flops, bytes) = (rate(|dispatch| dispatch.work.flops), rate(|dispatch| dispatch.work.bytes));
        let shares = self.ceiling.map(|Ceiling { fma, read }| {
            let (of_fma, of_read) = (100.0 * flops / fma, 100.0 * bytes / read);
            format!(", {of_fma:.0}% of the FMA ceiling ({fma:.0}), {of_read:.0}% of the read ceiling ({read:.1})")
        });
        println!("gpu/{name}: {flops:.1} GFLOP/s, {bytes:.2} GB/s{}", shares.unwrap_or_default());
    }
}

fn bench(criterion: &mut Criterion) {
    let name = std::env::var("CROSSALIGN_DEVICE").ok();
    let (kind, number) = name.as_deref().map_or(("cuda", None), |name| match name.split_once(':') {
        Some((kind, number)) => (kind, Some(number.parse().expect("a device's number"))),
        None => (name, None),
    });
    match Cuda::new(number.unwrap_or(0)) {
        Ok(cuda) if kind == "cuda" => return run(criterion, cuda, None, false),
        Err(error) if kind == "cuda" && name.is_some() => panic!("{error}"),
        _ => (),
    }
    let wgpu = Wgpu::new(number).or_else(|_| Wgpu::new(Some(0))).expect("a GPU, or a software adapter");
    let software = wgpu.adapter().software;
    let ceiling = Ceiling::measure(&wgpu.adapter().name, if software { 0.01 } else { 1.0 });
    run(criterion, wgpu, Some(ceiling), software);
}

fn run<B: Backend>(criterion: &mut Criterion, gpu: B, ceiling: Option<Ceiling>, software: bool) {
    println!("{}", gpu.describe());
    let views = if software { 1 } else { 61 };
    let mut bench = Bench { criterion, gpu, ceiling };
    crop_resize(&mut bench, views);
    for precision in [Precision::F32, Precision::F16] {
        let layers = [
            ("key_value", 2 * WIDTH, WIDTH, Epilogue::Store),
            ("output", WIDTH, WIDTH, Epilogue::Accumulate),
            ("up", 4 * WIDTH, WIDTH, Epilogue::Activate(Activation::QuickGelu)),
            ("down", WIDTH, 4 * WIDTH, Epilogue::Accumulate),
        ];
        for (name, outputs, inputs, epilogue) in layers {
            linear(&mut bench, name, views * TOKENS, Shape::new(outputs, inputs), epilogue, precision);
        }
    }
    for precision in [Precision::F32, Precision::F16] {
        layer_norm(&mut bench, views * TOKENS, precision);
        attention(&mut bench, views, precision);
    }
    weighted_similarity(&mut bench, views, if software { 50 } else { 1000 });
}

fn crop_resize<B: Backend>(bench: &mut Bench<'_, B>, views: usize) {
    let picture = input::picture(1024, 768);
    let boxes = ViewSampling { count: views, ..Default::default() }.boxes(picture.as_rgb()).expect("default ranges");
    let plan = plan_views((1024, 768), &boxes, 224, Resize::ShortestEdge).expect("boxes of this picture");
    let layout = PatchLayout::new(32, [0.5; 3], [0.5; 3]).expect("a layout");
    let views = plan.views().len();
    let mut out = bench.gpu.allocate(Shape::new(views * 49, 3 * 32 * 32)).expect("memory");
    bench.run(&format!("crop_resize {views} views 1024x768"), |gpu| {
        let output = CropOutput::Patches { layout: &layout, first_row: 0, out: &mut out };
        let picture = &gpu.upload_picture(picture.as_rgb()).expect("memory");
        gpu.crop_resize(CropResizeArgs { jobs: &[CropJob { picture, plan: &plan, views: 0..views }], output })
            .expect("a valid call");
    });
}

fn linear<B: Backend>(
    bench: &mut Bench<'_, B>,
    name: &str,
    rows: usize,
    shape: Shape,
    epilogue: Epilogue,
    precision: Precision,
) {
    let weight = input::random(shape.len(), 1.0 / shape.cols as f32, 1);
    let layer = bench.gpu.pack(shape, &weight, None, precision).expect("memory");
    let x = bench.activation(rows, shape.cols, precision);
    let mut out = bench.activation(rows, shape.rows, precision);
    bench.run(&format!("linear {name} {rows}x{}x{} {precision}", shape.rows, shape.cols), |gpu| {
        gpu.linear(LinearArgs { input: &x, layer: &layer, epilogue, out: &mut out }).expect("a valid call");
    });
}

fn layer_norm<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, precision: Precision) {
    let (gamma, beta) = (bench.tensor(1, WIDTH, 1.0), bench.tensor(1, WIDTH, 1.0));
    let (x, mut out) = (bench.activation(rows, WIDTH, precision), bench.activation(rows, WIDTH, precision));
    bench.run(&format!("layer_norm {rows}x{WIDTH} {precision}"), |gpu| {
        gpu.layer_norm(LayerNormArgs { input: &x, gamma: &gamma, beta: &beta, eps: 1e-5, out: &mut out })
            .expect("a valid call");
    });
}

fn attention<B: Backend>(bench: &mut Bench<'_, B>, views: usize, precision: Precision) {
    let offsets: Vec<u32> = (0..=views).map(|view| (view * TOKENS) as u32).collect();
    let rows = views * TOKENS;
    let activation = |width| bench.activation(rows, width, precision);
    let (queries, keys_values, mut out) = (activation(WIDTH), activation(2 * WIDTH), activation(WIDTH));
    bench.run(&format!("attention {views} views of {TOKENS} tokens {precision}"), |gpu| {
        gpu.attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: &offsets,
            key_offsets: &offsets,
            heads: HEADS,
            causal: false,
            out: &mut out,
        })
        .expect("a valid call");
    });
}

fn weighted_similarity<B: Backend>(bench: &mut Bench<'_, B>, views: usize, classes: usize) {
    let offsets = input::ragged(classes, 40, 60, 1);
    let texts = offsets[classes] as usize;
    let shape = Shape::new(texts, 512);
    let data = input::random(shape.len(), 1.0 / 512.0, 1);
    let packed = |precision| bench.gpu.pack(shape, &data, None, precision).expect("memory");
    let packed = [Precision::F32, Precision::F16].map(|precision| (precision, packed(precision)));
    let (f, w, v) = (bench.tensor(views, 512, 1.0 / 512.0), bench.tensor(1, views, 1.0), bench.tensor(1, texts, 1.0));
    let mut out = bench.gpu.allocate(Shape::new(1, classes)).expect("memory");
    for (precision, packed) in &packed {
        for (name, reduction) in [("weighted mean", Reduction::WeightedMean), ("best 5", Reduction::BestMean(5))] {
            bench.run(&format!("weighted_similarity {views} views {texts} texts {name} {precision}"), |gpu| {
                gpu.weighted_similarity(WeightedSimilarityArgs {
                    views: &f,
                    view_weights: &w,
                    texts: packed,
                    text_weights: &v,
                    pictures: &[0, views as u32],
                    classes: &offsets,
                    reduction,
                    out: &mut out,
                })
                .expect("a valid call");
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().nresamples(10_000);
    targets = bench
}
criterion_main!(benches);
