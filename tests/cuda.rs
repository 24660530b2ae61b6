//! Every kernel of the CUDA backend against the reference backend, and the reference set end to end.
//!
//! Where there is no NVIDIA driver, a stand-in for it (tests/simt) runs the same kernel sources on the CPU, with checks
//! for races, uninitialised and out-of-bounds access; it is built first and needs g++, without which the tests are
//! reported as ignored.
#![cfg(feature = "cuda")]

mod common;
mod properties;

use crossalign::backend::args::{GatherRowsArgs, L2NormalizeArgs, LinearArgs};
use crossalign::backend::cuda::CudaRecording;
use crossalign::backend::{Activation, Backend, Cuda, CudaTensor, Epilogue, Precision, Shape, Shaped};
use crossalign::engine::ModelOptions;
use crossalign::image::ViewSampling;
use crossalign::{CompileOptions, Method, Picture, Views};
use properties::activations::activation;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

macro_rules! kernels {
    ($($kernel:ident),+ $(,)?) => {
        $(#[machine::has(gxx)]
        #[test]
        fn $kernel() {
            properties::$kernel(&device());
        })+
    };
}

kernels! {
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
    attention_of_large_scores_of_activations,
}

fn device() -> Cuda {
    common::cuda::load_driver();
    Cuda::new(0).unwrap()
}

/// A sequence runs as it is, is captured, and is replayed as a graph, also where its tensors have moved in between: with
/// the same bits, and with the shapes that it gives them.
#[machine::has(gxx)]
#[test]
fn a_recorded_sequence_gives_the_same_bits() {
    let device = device();
    let weight: Vec<f32> = (0..40 * 24).map(|i| (i as f32).sin()).collect();
    let layer = device.pack(Shape::new(40, 24), &weight, None, Precision::F32).unwrap();
    let empty = || device.allocate(Shape::new(0, 0)).unwrap();
    let (mut recording, mut input, mut out) = (CudaRecording::default(), empty(), empty());
    for (round, rows) in [3, 3, 3, 5, 5, 3, 5, 200, 3, 5, 3].into_iter().enumerate() {
        let shape = Shape::new(rows, 24);
        let data: Vec<f32> = (0..shape.len()).map(|i| (i as f32 + round as f32).cos()).collect();
        let all: Vec<u32> = (0..rows as u32).collect();
        device.reshape(&mut input, shape).unwrap();
        device
            .gather_rows(GatherRowsArgs {
                input: &device.upload(shape, &data).unwrap(),
                rows: &all,
                first_row: 0,
                out: &mut input,
            })
            .unwrap();
        let run = |out: &mut CudaTensor| {
            device.reshape(out, Shape::new(rows, 40))?;
            device.linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out })?;
            device.l2_normalize(L2NormalizeArgs { tensor: out })
        };
        let mut expected = empty();
        run(&mut expected).unwrap();
        device.record_or_replay(&mut recording, rows, || run(&mut out)).unwrap();
        assert_eq!(out.shape(), expected.shape());
        assert_eq!(device.download(&out).unwrap(), device.download(&expected).unwrap(), "round {round}");
    }
    assert_eq!(recording.graphs(), 2);
}

/// A panic in a recorded sequence, as it runs, is captured or is skipped for its graph, leaves the device as it was.
#[machine::has(gxx)]
#[test]
fn a_panic_in_a_recorded_sequence_is_no_harm() {
    let device = device();
    let shape = Shape::new(3, 5);
    for panics in 0..4 {
        let (mut recording, mut input, mut out) =
            (CudaRecording::default(), device.allocate(shape).unwrap(), device.allocate(shape).unwrap());
        for round in 0..6 {
            let data = vec![round as f32 + 1.0; shape.len()];
            let from = device.upload(shape, &data).unwrap();
            let copy = |input: &CudaTensor, out: &mut CudaTensor| {
                device.gather_rows(GatherRowsArgs { input, rows: &[0, 1, 2], first_row: 0, out })
            };
            copy(&from, &mut input).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                device.record_or_replay(&mut recording, 0, || {
                    copy(&input, &mut out)?;
                    assert!(round != panics, "as the test wants it");
                    Ok(())
                })
            }));
            assert_eq!(result.is_err(), round == panics);
            if result.is_ok() {
                assert_eq!(device.download(&out).unwrap(), data, "round {round}, a panic in round {panics}");
            }
        }
        assert_eq!(recording.graphs(), 1);
    }
}

/// A panic in what is profiled ends the profile.
#[machine::has(gxx)]
#[test]
fn a_panic_in_a_profile_ends_it() {
    let device = device();
    assert!(catch_unwind(AssertUnwindSafe(|| device.profile(&mut || panic!("as the test wants it")))).is_err());
    let mut recording = CudaRecording::default();
    let mut tensor = device.upload(Shape::new(1, 2), &[3.0, 4.0]).unwrap();
    for _ in 0..2 {
        device
            .record_or_replay(&mut recording, 0, || device.l2_normalize(L2NormalizeArgs { tensor: &mut tensor }))
            .unwrap();
    }
    // With a profile there would be none.
    assert_eq!(recording.graphs(), 1);
}

/// What is larger than all staging buffers comes through them whole, and so do small uploads that share them.
#[machine::has(gxx)]
#[test]
fn uploads_of_any_size_arrive_whole() {
    let device = device();
    for elements in [1, 0, 5 << 20, 3, (1 << 20) - 1, 7, 9 << 20] {
        let data: Vec<f32> = (0..elements).map(|i| i as f32).collect();
        let tensor = device.upload(Shape::new(elements, 1), &data).unwrap();
        assert!(device.download(&tensor).unwrap() == data, "{elements} elements");
    }
}

/// What one thread frees, which does nothing else with the device, does not get into what another one captures.
#[machine::has(gxx)]
#[test]
fn memory_is_freed_while_another_thread_captures() {
    let device = device();
    let shape = Shape::new(1, 2);
    let mut tensor = device.upload(shape, &[3.0, 4.0]).unwrap();
    let (give, given) = std::sync::mpsc::channel::<CudaTensor>();
    let freed = AtomicBool::new(false);
    let mut recording = CudaRecording::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for tensor in given {
                drop(tensor);
                freed.store(true, Ordering::Relaxed);
            }
        });
        for _ in 0..3 {
            freed.store(false, Ordering::Relaxed);
            let mut others = vec![device.allocate(shape).unwrap()];
            let work = || {
                others.drain(..).for_each(|other| give.send(other).unwrap());
                // Room for the other thread, which has to wait for the end of a capture.
                for _ in 0..30 {
                    if !freed.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                device.l2_normalize(L2NormalizeArgs { tensor: &mut tensor })
            };
            device.record_or_replay(&mut recording, 0, work).unwrap();
        }
        drop(give);
    });
    assert_eq!(recording.graphs(), 1);
    assert_eq!(device.download(&tensor).unwrap(), [0.6, 0.8]);
}

/// Threads that share a device get their own results, while another one's launches are captured and replayed.
#[machine::has(gxx)]
#[test]
fn threads_share_a_device() {
    let device = device();
    let shape = Shape::new(4, 6);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = &device;
            scope.spawn(move || {
                let mut out = device.allocate(shape).unwrap();
                for round in 0..30 {
                    let data = vec![(100 * thread + round) as f32; shape.len()];
                    let input = device.upload(shape, &data).unwrap();
                    // Each is captured in the second call.
                    let mut recording = CudaRecording::default();
                    for _ in 0..3 {
                        let work = || {
                            let rows = &[3, 2, 1, 0];
                            device.gather_rows(GatherRowsArgs { input: &input, rows, first_row: 0, out: &mut out })
                        };
                        device.record_or_replay(&mut recording, 0, work).unwrap();
                    }
                    assert_eq!(device.download(&out).unwrap(), data);
                }
            });
        }
    });
}

/// Products that take the large tiles with 108 and 132 multiprocessors (`Tile::choose`): each row has the bits that it
/// has alone, when it takes the small tile, which `linear_of_activations` holds to the reference.
#[machine::has(gxx)]
#[test]
fn every_tile_gives_the_same_bits() {
    let device = device();
    let wave = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let inputs = 72;
    for (rows, outputs) in [(999, 1104), (1279, 1277)] {
        let layer =
            device.pack(Shape::new(outputs, inputs), &wave(outputs * inputs), Some(&wave(outputs)), Precision::F16);
        let layer = layer.unwrap();
        let (input, before) = (wave(rows * inputs), wave(rows * outputs));
        for (epilogue, narrow) in [
            (Epilogue::Store, true),
            (Epilogue::Accumulate, false),
            (Epilogue::Accumulate, true),
            (Epilogue::Activate(Activation::QuickGelu), true),
            (Epilogue::Activate(Activation::Gelu), false),
        ] {
            let product = |rows: Range<usize>| {
                let of = |width: usize| rows.start * width..rows.end * width;
                let (shape, out_shape) = (Shape::new(rows.len(), inputs), Shape::new(rows.len(), outputs));
                let x = activation(&device, shape, &input[of(inputs)]);
                let mut out = match narrow {
                    true => activation(&device, out_shape, &before[of(outputs)]),
                    false => device.upload(out_shape, &before[of(outputs)]).unwrap(),
                };
                device.linear(LinearArgs { input: &x, layer: &layer, epilogue, out: &mut out }).unwrap();
                device.download(&out).unwrap()
            };
            let all = product(0..rows);
            for some in [0..2, 127..130, rows - 70..rows] {
                let found = &all[some.start * outputs..some.end * outputs];
                assert!(found == product(some.clone()), "{rows}x{outputs} {epilogue:?}, rows {some:?}");
            }
        }
    }
}

/// The command line on the stand-in, with these variables.
fn crossalign(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossalign"));
    command.args(args).env("LD_LIBRARY_PATH", common::cuda::stand_in()).envs(variables.iter().copied());
    command.output().unwrap()
}

const CLASSIFY: [&str; 8] =
    ["classify", "models/mini/example.png", "--device", "cuda", "--views", "3", "--precision", "f16"];

/// The precision auto is f16.
#[machine::has(gxx)]
#[test]
fn auto_is_f16() {
    let scores = |more: &[&str]| crossalign(&[&CLASSIFY[..6], &["--format", "json"], more].concat(), &[]).stdout;
    let auto = scores(&[]);
    assert!(!auto.is_empty() && auto == scores(&["--precision", "f16"]) && auto != scores(&["--precision", "f32"]));
}

/// Several devices give what one gives, in the same order.
#[machine::has(gxx)]
#[test]
fn several_devices_share_the_pictures() {
    let pictures = ["landscape", "portrait", "tiny"].map(|name| format!("tests/golden/pictures/{name}.png"));
    let classify = |device: &str, variables: &[(&str, &str)]| {
        let mut args = vec!["classify", "--device", device, "--views", "2", "--precision", "f16", "--format", "json"];
        args.extend(pictures.iter().map(String::as_str));
        let output = crossalign(&args, variables);
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let one = classify("cuda", &[]);
    assert!(one.0 && one.1.lines().count() == 3, "{}", one.1);
    for devices in ["1", "2", "5"] {
        assert_eq!(classify("cuda:all", &[("SIMT_DEVICES", devices)]), one, "{devices} devices");
    }
    if !common::cuda::has_driver() {
        let none = classify("cuda:all", &[("LD_LIBRARY_PATH", "")]);
        assert!(!none.0 && none.1.contains("no NVIDIA driver"), "{}", none.1);
    }
}

#[machine::has(gxx)]
#[test]
fn a_driver_that_is_of_no_use_says_so() {
    let mut cases = vec![
        (&[("SIMT_DEVICES", "0")][..], "no CUDA-capable device"),
        (&[("SIMT_INIT", "100")], "does not start"),
        (&[("SIMT_INIT", "999")], "does not start"),
    ];
    if !common::cuda::has_driver() {
        cases.push((&[("LD_LIBRARY_PATH", "")], "no NVIDIA driver"));
    }
    for (variables, word) in cases {
        let output = crossalign(&CLASSIFY, variables);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{variables:?}");
        assert!(error.contains(word) && error.lines().count() == 1, "{variables:?}: {error}");
        // Everything else works.
        let output = crossalign(&["devices"], variables);
        let devices = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && devices.contains("not available (device cuda"), "{devices}");
    }
    let output = crossalign(&["devices"], &[("SIMT_DEVICES", "2")]);
    let devices = String::from_utf8(output.stdout).unwrap();
    for name in ["cuda ", "cuda:1 "] {
        let line = devices.lines().find(|line| line.starts_with(name)).expect("two devices are listed");
        assert!(line.ends_with(", precision f16"), "{line}");
    }
}

/// The kernels of compute capability 9.0.
mod sm90 {
    use super::*;
    use common::cuda::run_with;

    const CAPABILITY: (&str, &str) = ("SIMT_CAPABILITY", "90");

    fn hold(tests: &[&str], multiprocessors: &str) {
        for test in tests {
            run_with(test, &[CAPABILITY, ("SIMT_MULTIPROCESSORS", multiprocessors)]);
        }
    }

    /// With the multiprocessors of an H100, and with one, where small products take the large tiles and a block several of
    /// them.
    #[machine::has(gxx)]
    #[test]
    fn linear() {
        hold(&["linear_of_activations"], "132");
        hold(&["linear_of_activations", "deep_linear", "every_tile_gives_the_same_bits"], "1");
    }

    #[machine::has(gxx)]
    #[test]
    fn attention() {
        hold(
            &["attention_of_activations", "attention_beside_infinities", "attention_of_large_scores_of_activations"],
            "132",
        );
    }

    #[machine::has(gxx)]
    #[test]
    fn graphs() {
        hold(&["a_recorded_sequence_gives_the_same_bits", "contract"], "132");
    }

    /// How a card is listed.
    fn listed(variables: &[(&str, &str)]) -> String {
        let output = crossalign(&["devices"], variables);
        let devices = String::from_utf8(output.stdout).unwrap();
        devices.lines().find(|line| line.starts_with("cuda ")).expect("a device").to_string()
    }

    /// Other cards, and drivers that cannot run these kernels, run the others, and say so where it is not to be expected.
    #[machine::has(gxx)]
    #[test]
    fn other_cards_and_drivers_run_the_other_kernels() {
        const WITHOUT: &str = "without the kernels of its compute capability: ";
        for capability in ["80", "86", "89", "90", "100", "120"] {
            let line = listed(&[("SIMT_CAPABILITY", capability)]);
            assert!(!line.contains(WITHOUT), "{line}");
        }
        for (variable, why) in [
            (("SIMT_TENSOR_MAP", "fail"), "CUDA_ERROR"),
            (("CROSSALIGN_CUDA_FAMILY", "mma"), "by CROSSALIGN_CUDA_FAMILY"),
        ] {
            let line = listed(&[CAPABILITY, variable]);
            let found = line.split(WITHOUT).nth(1).unwrap_or_else(|| panic!("{line}"));
            assert!(found.contains(why), "{line}");
        }
        for (capability, family, expected) in [
            ("90", "other", "CROSSALIGN_CUDA_FAMILY: found other, expected mma or wgmma"),
            ("80", "wgmma", "CROSSALIGN_CUDA_FAMILY: found wgmma, expected mma: only compute capability 9.0 has wgmma"),
        ] {
            let output = crossalign(&CLASSIFY, &[("SIMT_CAPABILITY", capability), ("CROSSALIGN_CUDA_FAMILY", family)]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && error.contains(expected), "{error}");
        }
        // The kernels differ in their last bits.
        let scores = |variables: &[(&str, &str)]| {
            let output = crossalign(&[&CLASSIFY[..], &["--format", "json"]].concat(), variables);
            assert!(output.status.success(), "{variables:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let expected = scores(&[]);
        assert!(scores(&[CAPABILITY]) != expected);
        assert!(scores(&[CAPABILITY, ("SIMT_TENSOR_MAP", "fail")]) == expected);
    }
}

/// The views of several pictures go through one forward pass, and stay on the device up to the scores: a batch takes the
/// launches of one picture.
#[machine::has(gxx)]
#[test]
fn a_batch_is_scored_in_one_go() {
    common::cuda::load_driver();
    let reference = common::Reference::golden();
    let model = common::load(&reference.models()[2], ModelOptions::default().with_device("cuda".parse().unwrap()));
    let views = Views::Sampled(ViewSampling { count: 5, ..Default::default() });
    let classifier = model.compile(&reference.prompts(), &Default::default()).unwrap().with_views(views);
    let pictures: Vec<Picture> = (0..8).map(|i| Picture::new(40, 30, common::noise(40, 30, i)).unwrap()).collect();
    let launches = |pictures: &[&Picture]| {
        let (results, profile) = classifier.model().profile(|| classifier.classify_batch(pictures).unwrap());
        (results, profile.unwrap().dispatches.iter().map(|launch| launch.kernel).collect::<Vec<_>>())
    };
    let (together, batch) = launches(&pictures.iter().collect::<Vec<_>>());
    let (alone, one) = launches(&[&pictures[7]]);
    assert_eq!(batch, one);
    assert_eq!(batch.iter().filter(|kernel| kernel.starts_with("crop_resize")).count(), 1);
    assert_eq!(batch.iter().filter(|kernel| **kernel == "alignment_weights").count(), 1);
    assert_eq!(batch.iter().filter(|kernel| kernel.starts_with("weighted_similarity")).count(), 1);
    // Behind the encoder's last kernel: its rows, the global and the local ones, weights and scores.
    let encoder = batch.iter().rposition(|kernel| *kernel == "l2_normalize").unwrap();
    assert_eq!(batch.len() - 1 - encoder, 5);
    assert_eq!(together[7], alone[0]);
}

/// What the backend asks of the driver, counted by the stand-in.
mod counted {
    use super::*;
    use common::cuda::{alone, calls};

    /// The driver compiles an image once, however many of its kernels are launched.
    #[machine::has(gxx)]
    #[test]
    fn an_image_is_loaded_once() {
        if !alone("counted::an_image_is_loaded_once") {
            return;
        }
        let device = device();
        let shape = Shape::new(2, 8);
        let input = device.upload(shape, &[1.5; 16]).unwrap();
        let calls = calls(|| {
            for precision in [Precision::F32, Precision::F16, Precision::F32] {
                let mut out = device.activation(precision).unwrap();
                device.reshape(&mut out, shape).unwrap();
                device
                    .gather_rows(GatherRowsArgs { input: &input, rows: &[1, 0], first_row: 0, out: &mut out })
                    .unwrap();
            }
        });
        assert_eq!((calls.modules, calls.launches), (1, 3));
    }

    /// Uploads need no wait as long as the staging buffers suffice; a download takes one, however many tensors it is of.
    #[machine::has(gxx)]
    #[test]
    fn only_downloads_wait() {
        if !alone("counted::only_downloads_wait") {
            return;
        }
        let device = device();
        let shape = Shape::new(20, 20);
        let calls = calls(|| {
            let tensors: Vec<CudaTensor> = (0..50).map(|i| device.upload(shape, &[i as f32; 400]).unwrap()).collect();
            let [first, last] = device.download_all([&tensors[0], &tensors[49]]).unwrap();
            assert_eq!((first[7], last[399]), (0.0, 49.0));
        });
        assert_eq!((calls.uploads, calls.downloads, calls.waits), (50, 2, 1));
    }

    /// Memory is freed where the driver frees it: outside of another thread's capture, and behind the kernels that read it.
    #[machine::has(gxx)]
    #[test]
    fn no_free_is_refused() {
        if !alone("counted::no_free_is_refused") {
            return;
        }
        let calls = calls(|| {
            memory_is_freed_while_another_thread_captures();
            // Its kernels read memory that is uploaded for them alone.
            properties::embed(&device());
        });
        assert_eq!(calls.refused_frees, 0);
    }

    /// The graphs of a sequence are bounded; those of the shapes that came last are kept.
    #[machine::has(gxx)]
    #[test]
    fn few_shapes_have_a_graph() {
        if !alone("counted::few_shapes_have_a_graph") {
            return;
        }
        let device = device();
        let input = device.upload(Shape::new(2, 3), &[0.5; 6]).unwrap();
        let mut out = device.allocate(Shape::new(2, 3)).unwrap();
        let mut recording = CudaRecording::default();
        let mut replay = |shape: usize| {
            let calls = calls(|| {
                let work =
                    || device.gather_rows(GatherRowsArgs { input: &input, rows: &[1, 0], first_row: 0, out: &mut out });
                device.record_or_replay(&mut recording, shape, work).unwrap();
            });
            calls.graph_launches
        };
        for shape in 1..40 {
            // As it is, then captured, as is that of the shape 0, which stays the one before the last.
            assert_eq!([replay(shape), replay(shape), replay(0)], [0, 1, u64::from(shape > 1)], "shape {shape}");
        }
        assert_eq!([replay(39), replay(1), replay(1)], [1, 0, 1]);
        assert!(recording.graphs() <= 16);
    }

    /// A batch: each picture goes up once, one wait brings all that was computed, and few launches come beside the encoder's
    /// graphs. Also where views are cut inside pictures.
    #[machine::has(gxx)]
    #[test]
    fn a_batch_takes_one_wait_and_one_upload_a_picture() {
        if !alone("counted::a_batch_takes_one_wait_and_one_upload_a_picture") {
            return;
        }
        let reference = common::Reference::golden();
        let pictures: Vec<Picture> = (0..64).map(|i| Picture::new(40, 31, common::noise(40, 31, i)).unwrap()).collect();
        for (method, pictures, views_at_once, batches) in [
            (Method::Wca, &pictures[..8], 0, 1),
            (Method::Wca, &pictures[..8], 100, 5),
            (Method::Cupl, &pictures, 0, 1),
        ] {
            let options =
                ModelOptions::default().with_device("cuda".parse().unwrap()).with_views_at_once(views_at_once);
            let model = common::load(&reference.models()[0], options);
            let options = CompileOptions::default().with_method(method);
            let classifier = model.compile(&reference.prompts(), &options).unwrap();
            let pictures: Vec<&Picture> = pictures.iter().collect();
            let classify = || classifier.classify_batch(&pictures).unwrap();
            // A sequence of launches runs as it is, then is captured, then is a graph.
            let expected = classify();
            classify();
            let calls = calls(|| assert_eq!(classify(), expected));
            assert_eq!((calls.modules, calls.graph_launches, calls.waits), (0, batches, 1), "{method:?}: {calls:?}");
            // The pictures; for each batch its views, their taps and weights. Without WCA the views' weights go up, with it
            // weights and lengths come down beside the scores.
            let (up, down) = if method == Method::Wca { (0, 3) } else { (1, 1) };
            let uploads = pictures.len() as u64 + 3 * batches + up;
            assert_eq!((calls.uploads, calls.downloads), (uploads, down), "{method:?}: {calls:?}");
            // Of each batch the crops and what keeps its embeddings; of all the scores.
            assert!(calls.launches <= 10 + 2 * batches, "{method:?}: {calls:?}");
        }
    }
}
