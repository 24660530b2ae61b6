//! What the benches share: random numbers, pictures, classifiers, backends, and the comparison with the reference.

#![allow(dead_code, reason = "no bench uses all of it")]

use crossalign::align::Kept;
use crossalign::backend::{Backend, Cpu, HostTensor, Shape, SimdLevel};
use crossalign::engine::Embeddings;
use crossalign::{Classifier, CompileOptions, CompiledClassifier, Method, Model, Picture};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Uniform numbers with mean 0 and the given variance.
pub fn random(count: usize, variance: f32, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let amplitude = (3.0 * variance).sqrt();
    (0..count).map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * amplitude).collect()
}

/// A tensor of such numbers.
pub fn tensor(cpu: &Cpu, rows: usize, cols: usize, variance: f32, seed: u64) -> HostTensor {
    cpu.upload(Shape::new(rows, cols), &random(rows * cols, variance, seed)).expect("data of that shape")
}

/// Offsets of `count` ragged segments of `shortest ..= longest` rows.
pub fn ragged(count: usize, shortest: u32, longest: u32, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut offsets = vec![0];
    for segment in 0..count {
        offsets.push(offsets[segment] + shortest + rng.next_u32() % (longest - shortest + 1));
    }
    offsets
}

/// A picture with something everywhere: waves and a little noise.
pub fn picture(width: u32, height: u32) -> Picture {
    seeded_picture(width, height, 0)
}

/// Such a picture with its own noise.
pub fn seeded_picture(width: u32, height: u32, seed: u64) -> Picture {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let wave = |i: u32, period: f32| (i as f32 / period).sin() * 60.0 + 128.0;
    let mut pixel = |i: u32| {
        let (x, y) = (i % width, i / width);
        let noise = rng.next_u32().to_le_bytes();
        let waves = [wave(x, 7.0), wave(y, 11.0), wave(x + y, 17.0)];
        [0, 1, 2].map(|c| waves[c] as u8 + noise[c] % 16)
    };
    let pixels = (0..width * height).flat_map(&mut pixel).collect();
    Picture::new(width, height, pixels).expect("a whole picture")
}

/// A picture's file, as cameras write it: with half the resolution for colours. One of 1024×768 has about 190 kB.
pub fn jpeg(picture: &Picture) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder.encode(picture.as_rgb().pixels(), width, height, ColorType::Rgb).expect("memory");
    bytes
}

/// A model with random vectors for so many classes.
pub fn classifier(model: Model, method: Method, classes: usize) -> Classifier {
    let width = model.config().embed;
    let compiled = CompiledClassifier {
        options: CompileOptions::default().with_method(method),
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        kept: Kept::Vectors(Embeddings { width, data: random(classes * width, 1.0 / width as f32, 1) }),
        model: model.fingerprint().into(),
        prompts: "random".into(),
        truncated: 0,
    };
    model.into_classifier(compiled).expect("compiled with this model")
}

/// Every level that this machine has.
pub fn levels() -> impl Iterator<Item = SimdLevel> {
    SimdLevel::ALL.into_iter().filter(|level| level.is_available())
}

/// One thread, and all of them.
pub fn thread_counts() -> impl Iterator<Item = usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    std::iter::once(1).chain((all > 1).then_some(all))
}

/// The backend at a level.
pub fn cpu(level: SimdLevel, threads: usize) -> Cpu {
    Cpu::with_level(level, threads).expect("a level of this machine")
}

/// Level and threads, as a part of a benchmark's name: `avx512 x2`.
pub fn name(cpu: &Cpu) -> String {
    format!("{:?} x{}", cpu.level(), cpu.threads()).to_lowercase()
}

/// Panics where two results differ by more than rounding.
pub fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= 1e-4 * (1.0 + e.abs()), "element {i}: {a} instead of {e}");
    }
}
