//! The vision tower of ViT-B/32 on random weights: 61, 16 and 1 views of one 1024×768 picture, from bytes to unit
//! embeddings (crop, resize, normalise, encode), in f32, bf16 and int8 on all threads.
//!
//! Operations are counted from the architecture (8.8 GFLOP a view), not from what the last block skips.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::backend::{CropPlan, Precision};
use crossalign::image::{Resize, ViewSampling, plan_views};
use crossalign::model::{Config, PictureViews};
use crossalign::{Model, ModelOptions};
use std::hint::black_box;

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "encode", 3.0);
    let picture = input::picture(1024, 768);
    let plan = |views: usize| -> CropPlan {
        let sampling = ViewSampling { count: views - 1, ..Default::default() };
        let boxes = sampling.boxes(picture.as_rgb()).expect("the default ranges");
        plan_views((1024, 768), &boxes, 224, Resize::ShortestEdge).expect("boxes of this picture")
    };
    let threads = input::thread_counts().last().expect("at least one");
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let config = Config::named("ViT-B-32").expect("a published architecture");
        let options =
            ModelOptions::default().with_device("cpu".parse().unwrap()).with_threads(threads).with_precision(precision);
        let model = Model::random(config, &options).expect("a CPU");
        let encode = |plan: &CropPlan| {
            model.encode_views(&[PictureViews { picture: picture.as_rgb(), plan }], true).expect("a valid call")
        };

        // A view has the same bits alone and in company, and unit length.
        let (one, two) = (encode(&plan(1)), encode(&plan(2)));
        let length = one.row(0).iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(one.row(0) == two.row(0) && (length - 1.0).abs() < 1e-5);

        for views in [61, 16, 1] {
            let plan = plan(views);
            let flops = model.config().vision_flops() * views as f64;
            let work = match precision {
                Precision::Bf16 => Work::Bf16(flops),
                Precision::Int8 => Work::Int8(flops),
                Precision::F32 | Precision::F16 => Work::Flops(flops),
            };
            let name = format!("ViT-B-32 {views} views {precision} x{threads}");
            group.bench(&name, threads, views as u64, work, || {
                black_box(encode(&plan));
            });
        }
    }
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);
