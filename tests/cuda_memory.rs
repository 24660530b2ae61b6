//! A batch that does not fit a GPU's memory. A process of its own, since it takes the memory from all.
#![cfg(all(feature = "cuda", feature = "mini"))]

mod common;

use crossalign::backend::{Backend, Cuda, Precision, Rgb, Shape};
use crossalign::engine::{Model, ModelOptions};
use crossalign::image::ViewSampling;
use crossalign::model::PictureViews;

#[machine::has(gxx)]
#[test]
fn a_batch_that_does_not_fit_is_halved() {
    common::cuda::load_driver();
    let options = ModelOptions::default().with_device("cuda".parse().unwrap()).with_precision(Precision::F16);
    let model = || Model::mini(&options).unwrap();
    let pixels = common::noise(200, 150, 3);
    let picture = Rgb::new(200, 150, &pixels).unwrap();
    let boxes = ViewSampling { count: 11, ..Default::default() }.boxes(picture).unwrap();
    let plan = model().config().plan_views((200, 150), &boxes).unwrap();
    let job = PictureViews { picture, plan: &plan };
    let batches = |model: &Model| {
        let (embeddings, profile) = model.profile(|| model.encode_views(&[job], true));
        let launches = profile.unwrap().dispatches;
        (launches.iter().filter(|launch| launch.kernel.starts_with("crop_resize")).count(), embeddings)
    };
    let (expected_batches, expected) = batches(&model());
    let expected = expected.unwrap();
    assert_eq!(expected_batches, 1);

    let model = model();
    let device = Cuda::new(0).unwrap();
    let mut taken = Vec::new();
    while let Ok(tensor) = device.allocate(Shape::new(64 << 10, 1)) {
        taken.push(tensor);
    }
    let error = batches(&model).1.unwrap_err().to_string();
    assert!(error.starts_with("device cuda:0: ") && error.contains("memory"), "{error}");
    // Room for the activations of some views.
    let mut found = 0;
    while found == 0 {
        taken.pop().expect("memory to give back");
        let (count, embeddings) = batches(&model);
        if let Ok(embeddings) = embeddings {
            assert!(embeddings == expected, "the same bits in {count} batches");
            found = count;
        }
    }
    assert!(found > 1, "the first batch that fits is not whole");
}
