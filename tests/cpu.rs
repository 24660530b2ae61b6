//! Every kernel of the CPU backend at every SIMD level, against the reference backend.

mod properties;

use crossalign::backend::args::LinearArgs;
use crossalign::backend::{Backend, Cpu, Epilogue, Precision, Shape, SimdLevel};

macro_rules! stamp {
    ($level:ident if $has:meta: $($kernel:ident),+) => {$(
        #[test]
        #[cfg_attr(not($has), ignore = "this processor does not have the level")]
        fn $kernel() {
            crate::properties::$kernel(&crossalign::backend::Cpu::with_level(super::SimdLevel::$level, 2).unwrap());
        }
    )+};
}

macro_rules! levels {
    ($($kernel:ident),+) => {
        mod portable {
            stamp!(Portable if all(): $($kernel),+);
        }
        mod avx2 {
            stamp!(Avx2 if host_avx2: $($kernel),+);
        }
        mod avx512 {
            stamp!(Avx512 if host_avx512: $($kernel),+);
        }
        mod avx512_vnni {
            stamp!(Avx512Vnni if host_avx512_vnni: $($kernel),+);
        }
        mod avx512_bf16 {
            stamp!(Avx512Bf16 if host_avx512_bf16: $($kernel),+);
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
    rows_of_activations
);

#[test]
fn reference_keeps_its_own_contract() {
    properties::contract(&crossalign::backend::Reference);
}

/// More rows and columns than one task takes, so that the threads share the work.
#[test]
fn linear_is_the_same_on_any_number_of_threads() {
    let (rows, outputs, inputs) = (230, 200, 1000);
    let wave = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let run = |threads| {
        let cpu = Cpu::new(threads).unwrap();
        let input = cpu.upload(Shape::new(rows, inputs), &wave(rows * inputs)).unwrap();
        let layer = cpu.pack(Shape::new(outputs, inputs), &wave(outputs * inputs), None, Precision::F32).unwrap();
        let mut out = cpu.allocate(Shape::new(rows, outputs)).unwrap();
        cpu.linear(LinearArgs { input: &input, layer: &layer, epilogue: Epilogue::Store, out: &mut out }).unwrap();
        cpu.download(&out).unwrap()
    };
    let one = run(1);
    for threads in [2, 3, 4] {
        assert!(run(threads) == one, "{threads} threads");
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
