//! Every WGSL kernel in a browser against the reference backend: Chromium's own compiler and validation, on its
//! software driver. What runs here and on wgpu keeps to the portable language.
//!
//! The test's page runs the cases and posts the outputs back.

use crate::chromium::{self, WebGpu};
use crate::common;
use crate::server::File;
use crossalign::backend::args::{
    AddPositionsArgs, AlignmentWeightsArgs, AttentionArgs, CropResizeArgs, EmbedTokensArgs, GatherRowsArgs,
    L2NormalizeArgs, LayerNormArgs, LinearArgs, WeightedSimilarityArgs,
};
use crossalign::backend::{
    Activation, Backend, CropJob, CropOutput, Epilogue, HostTensor, PatchLayout, Precision, Reduction, Reference, Rgb,
    Shape,
};
use crossalign::image::{CropBox, Resize, plan_views};
use half::{bf16, f16};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("kernels.html");

/// The weights' precisions and the epilogues, by the names of their constants in the modules.
const STORAGES: [(&str, Precision); 3] = [("F32", Precision::F32), ("F16", Precision::F16), ("BF16", Precision::Bf16)];
const EPILOGUES: [(&str, Epilogue); 5] = [
    ("STORE", Epilogue::Store),
    ("ACCUMULATE", Epilogue::Accumulate),
    ("QUICK_GELU", Epilogue::Activate(Activation::QuickGelu)),
    ("GELU", Epilogue::Activate(Activation::Gelu)),
    ("GELU_TANH", Epilogue::Activate(Activation::GeluTanh)),
];

/// `linear` by tiles of either size.
const LINEAR: [&str; 2] = ["linear_64x64", "linear_128x128"];

#[machine::has(chromium)]
#[test]
fn kernels_run_in_a_browser() {
    let cases = cases();
    for module in modules() {
        assert!(cases.iter().any(|case| case.kernel == module), "{module} has no case");
    }
    let outcomes = outcomes(&cases).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcomes.len(), cases.len());
    let failed = |(case, outcome): (&Case, &Outcome)| Some(format!("{}: {}", case.name(), outcome.as_ref().err()?));
    let errors: Vec<String> = cases.iter().zip(&outcomes).filter_map(failed).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    for (case, words) in cases.iter().zip(outcomes) {
        let mut found: Vec<f32> = words.unwrap().into_iter().map(f32::from_bits).collect();
        found.truncate(case.expected.len());
        common::assert_close(&found, &case.expected, case.tolerance, &case.name());
    }
}

/// One dispatch of a kernel, and what it must give.
struct Case {
    kernel: &'static str,
    /// Overrides, and the constants of the module that they are set to.
    constants: Vec<(&'static str, &'static str)>,
    /// By number; the last is the output.
    bindings: Vec<Binding>,
    groups: [usize; 3],
    expected: Vec<f32>,
    tolerance: f32,
}

impl Case {
    fn name(&self) -> String {
        let values = self.constants.iter().map(|(_, value)| *value);
        std::iter::once(self.kernel).chain(values).collect::<Vec<_>>().join(" ")
    }

    fn json(&self) -> Value {
        let constants = self.constants.iter().map(|(name, value)| (*name, constant(self.kernel, value)));
        json!({
            "name": self.kernel,
            "source": source(self.kernel),
            "constants": constants.collect::<BTreeMap<_, _>>(),
            "bindings": self.bindings.iter().map(|b| json!({"type": b.kind, "words": b.words})).collect::<Vec<_>>(),
            "output": self.bindings.len() - 1,
            "groups": self.groups,
        })
    }
}

/// A buffer: how it is bound, as WebGPU calls it, and what it holds.
struct Binding {
    kind: &'static str,
    words: Vec<u32>,
}

fn uniform(params: &[usize]) -> Binding {
    Binding { kind: "uniform", words: words(&params.iter().map(|&p| p as u32).collect::<Vec<_>>()) }
}

fn read<T: bytemuck::NoUninit>(data: &[T]) -> Binding {
    Binding { kind: "read-only-storage", words: words(data) }
}

fn read_write<T: bytemuck::NoUninit>(data: &[T]) -> Binding {
    Binding { kind: "storage", words: words(data) }
}

/// A float among the parameters.
fn bits(x: f32) -> usize {
    x.to_bits() as usize
}

/// Padded to 16 bytes, as a uniform must be; a binding may not be empty.
fn words<T: bytemuck::NoUninit>(data: &[T]) -> Vec<u32> {
    let mut bytes: Vec<u8> = bytemuck::cast_slice(data).to_vec();
    bytes.resize(bytes.len().max(1).next_multiple_of(16), 0);
    bytemuck::pod_collect_to_vec(&bytes)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/wgsl")
}

/// The modules in the portable language: those that enable no extension.
fn modules() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let modules = files.filter_map(|file| Some(file.strip_suffix(".wgsl")?.to_string()));
    modules.filter(|module| !source(module).lines().any(|line| line.starts_with("enable "))).collect()
}

/// A module as `build.rs` composes it.
fn source(kernel: &str) -> String {
    std::fs::read_to_string(Path::new(env!("OUT_DIR")).join(format!("{kernel}.wgsl"))).unwrap()
}

/// A module's constant, as the module itself declares it.
fn constant(kernel: &str, name: &str) -> usize {
    let declaration = format!("const {name}: u32 = ");
    let source = source(kernel);
    let value = source.lines().find_map(|line| line.strip_prefix(&declaration)?.strip_suffix(';'));
    value.unwrap_or_else(|| panic!("{kernel} has no {name}")).parse().unwrap()
}

/// The relative error of a sum of `terms` products in f32, as in `properties`.
fn rounding(terms: usize) -> f32 {
    (terms + 32) as f32 / (1 << 24) as f32
}

/// Numbers in −1 ..= 1.
fn wave(count: usize, seed: u32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37 + seed as f32).sin()).collect()
}

fn tensor(rows: usize, cols: usize, seed: u32) -> HostTensor {
    Reference.upload(Shape::new(rows, cols), &wave(rows * cols, seed)).unwrap()
}

/// Weights as a device stores them: rows padded to a multiple of `DEPTH` elements. Returns that stride, too.
fn packed(weights: &[f32], width: usize, precision: Precision) -> (usize, Binding) {
    let stride = width.next_multiple_of(constant(LINEAR[0], "DEPTH"));
    let pad = |row: &[f32]| row.iter().copied().chain(std::iter::repeat(0.0)).take(stride).collect::<Vec<_>>();
    let padded = weights.chunks_exact(width).flat_map(pad);
    let binding = match precision {
        Precision::F32 => read(&padded.collect::<Vec<_>>()),
        Precision::F16 => read(&padded.map(|w| f16::from_f32(w).to_bits()).collect::<Vec<_>>()),
        Precision::Bf16 | Precision::Int8 => read(&padded.map(|w| bf16::from_f32(w).to_bits()).collect::<Vec<_>>()),
    };
    (stride, binding)
}

fn cases() -> Vec<Case> {
    let mut cases = vec![crop_resize(), layer_norm(), attention(false), attention(true), embed_tokens()];
    cases.extend([add_positions(), gather_rows(), l2_normalize(), alignment_weights()]);
    // A software driver takes a second to compile `linear`: each constant once, not each pair; rows of whole vectors
    // of four and others.
    let (storages, inputs) = (STORAGES.into_iter().cycle(), [50, 52].into_iter().cycle());
    let kernels = LINEAR.into_iter().cycle();
    let linears = EPILOGUES.into_iter().zip(storages).zip(inputs).zip(kernels);
    cases.extend(linears.map(|(((epilogue, storage), inputs), kernel)| linear(kernel, storage, epilogue, inputs)));
    for storage in STORAGES {
        let reductions = [Reduction::WeightedMean, Reduction::BestMean(1), Reduction::BestMean(11)];
        cases.extend(reductions.map(|reduction| weighted_similarity(storage, reduction)));
    }
    cases
}

/// Crops whose rows take several bands, and one of a single pixel.
fn crop_resize() -> Case {
    let (width, height, size, patch) = (150, 190, 40, 8);
    let pixels = common::noise(width, height, 5);
    let picture = Rgb::new(width, height, &pixels).unwrap();
    let boxes = [CropBox::new(37, 90, 100, 100), CropBox::new(149, 0, 1, 1)];
    let plan = plan_views((width, height), &boxes, size, Resize::ShortestEdge).unwrap();
    let layout = PatchLayout::new(patch, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]).unwrap();
    let views = plan.views().len();
    let [width, height, size, patch] = [width, height, size, patch].map(|n| n as usize);
    let mut out = tensor(views * (size / patch).pow(2), 3 * patch.pow(2), 1);
    let before = read_write(out.data());
    let output = CropOutput::Patches { layout: &layout, first_row: 0, out: &mut out };
    Reference
        .crop_resize(CropResizeArgs { jobs: &[CropJob { picture: &picture, plan: &plan, views: 0..views }], output })
        .unwrap();

    let corners: Vec<[u32; 4]> =
        plan.views().iter().map(|view| [view.x, view.y, view.horizontal as u32, view.vertical as u32]).collect();
    let (mut taps, mut weights) = (Vec::new(), Vec::new());
    for (start, its_weights) in plan.taps().iter().flat_map(|set| (0..set.len()).map(|i| set.get(i))) {
        taps.push([start as u32, weights.len() as u32, its_weights.len() as u32, 0]);
        weights.extend_from_slice(its_weights);
    }
    let tiles = size.div_ceil(constant("crop_resize", "TILE"));
    Case {
        kernel: "crop_resize",
        constants: vec![],
        bindings: vec![
            uniform(&[width, size, patch, 0, height, 0, 1, 1]),
            read(&pixels),
            read(&corners),
            read(&taps),
            read(&weights),
            read(layout.table().as_flattened()),
            read_write(&[0]),
            before,
        ],
        groups: [tiles, tiles, views],
        expected: out.data().to_vec(),
        tolerance: 0.0,
    }
}

/// More than one tile of rows and of outputs.
fn linear(
    kernel: &'static str,
    (storage, precision): (&'static str, Precision),
    (name, epilogue): (&'static str, Epilogue),
    inputs: usize,
) -> Case {
    let (rows, outputs) = (134, 139);
    let (input, mut out) = (tensor(rows, inputs, 1), tensor(rows, outputs, 2));
    let (weight, bias) = (wave(outputs * inputs, 3), wave(outputs, 4));
    let before = read_write(out.data());
    let layer = Reference.pack(Shape::new(outputs, inputs), &weight, Some(&bias), precision).unwrap();
    Reference.linear(LinearArgs { input: &input, layer: &layer, epilogue, out: &mut out }).unwrap();

    let (stride, packed) = packed(&weight, inputs, precision);
    let tile = constant(kernel, "TILE");
    Case {
        kernel,
        constants: vec![("STORAGE", storage), ("EPILOGUE", name)],
        bindings: vec![
            uniform(&[rows, outputs, 0, outputs, inputs, stride, 0, 0, 0]),
            read(input.data()),
            packed,
            read(&bias),
            before,
        ],
        groups: [outputs.div_ceil(tile), rows.div_ceil(tile), 1],
        expected: out.data().to_vec(),
        tolerance: rounding(inputs) * (inputs + 2) as f32,
    }
}

fn layer_norm() -> Case {
    let (rows, width, eps) = (5, 70, 1e-5);
    let (input, gamma, beta) = (tensor(rows, width, 1), tensor(1, width, 2), tensor(1, width, 3));
    let mut out = tensor(rows, width, 4);
    let before = read_write(out.data());
    Reference.layer_norm(LayerNormArgs { input: &input, gamma: &gamma, beta: &beta, eps, out: &mut out }).unwrap();
    Case {
        kernel: "layer_norm",
        constants: vec![],
        bindings: vec![
            uniform(&[rows, width, bits(eps), 0, 0]),
            read(input.data()),
            read(gamma.data()),
            read(beta.data()),
            before,
        ],
        groups: [rows, 1, 1],
        expected: out.data().to_vec(),
        // No value is more than twice the spread.
        tolerance: 4.0 * rounding(width) * 10.0,
    }
}

/// More queries, keys and columns of a head than a workgroup takes at once.
fn attention(causal: bool) -> Case {
    let (heads, dim) = (2, 130);
    let width = heads * dim;
    let (query_offsets, key_offsets) = ([0, 70, 73], [0, 150, 170]);
    let (queries, keys_values) = (tensor(73, width, 1), tensor(170, 2 * width, 2));
    let mut out = tensor(73, width, 3);
    let before = read_write(out.data());
    Reference
        .attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: &query_offsets,
            key_offsets: &key_offsets,
            heads,
            causal,
            out: &mut out,
        })
        .unwrap();

    let at_once = constant("attention", "QUERIES");
    let mut items = Vec::new();
    for (q, k) in query_offsets.windows(2).zip(key_offsets.windows(2)) {
        let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
        for first in (0..queries).step_by(at_once) {
            let visible = if causal { keys - queries + first + 1 } else { keys };
            items.push([q[0] + first, (queries - first).min(at_once as u32), k[0], visible]);
        }
    }
    let scale = 1.0 / (dim as f32).sqrt();
    Case {
        kernel: "attention",
        constants: vec![],
        bindings: vec![
            uniform(&[items.len(), width, dim, causal.into(), bits(scale), 0, 0, 0]),
            read(queries.data()),
            read(keys_values.data()),
            read(&items),
            before,
        ],
        groups: [items.len(), 1, heads * dim.div_ceil(constant("attention", "COLUMNS"))],
        expected: out.data().to_vec(),
        // A logit's rounding becomes a relative error of the weights.
        tolerance: 4.0 * rounding(dim) * (dim as f32).sqrt() + 2.0 * rounding(170),
    }
}

fn embed_tokens() -> Case {
    let (tokens, offsets, vocabulary, width) = ([3, 0, 10, 3, 7], [0, 2, 5], 11, 70);
    let (table, positions) = (tensor(vocabulary, width, 1), tensor(3, width, 2));
    let mut out = tensor(tokens.len(), width, 3);
    let before = read_write(out.data());
    Reference
        .embed_tokens(EmbedTokensArgs {
            tokens: &tokens,
            offsets: &offsets,
            table: &table,
            positions: &positions,
            out: &mut out,
        })
        .unwrap();

    let places = offsets.windows(2).flat_map(|sequence| 0..sequence[1] - sequence[0]);
    let placed: Vec<[u32; 2]> = tokens.into_iter().zip(places).map(|(token, place)| [token, place]).collect();
    Case {
        kernel: "embed_tokens",
        constants: vec![],
        bindings: vec![
            uniform(&[tokens.len(), width, 0, vocabulary, 0, 0]),
            read(&placed),
            read(table.data()),
            read(positions.data()),
            before,
        ],
        groups: [tokens.len(), 1, 1],
        expected: out.data().to_vec(),
        tolerance: 0.0,
    }
}

fn add_positions() -> Case {
    let (views, tokens, width) = (2, 5, 70);
    let (patches, class) = (tensor(views * (tokens - 1), width, 1), tensor(1, width, 2));
    let (positions, mut out) = (tensor(tokens, width, 3), tensor(views * tokens, width, 4));
    let before = read_write(out.data());
    Reference
        .add_positions(AddPositionsArgs { patches: &patches, class: &class, positions: &positions, out: &mut out })
        .unwrap();
    Case {
        kernel: "add_positions",
        constants: vec![],
        bindings: vec![
            uniform(&[views * tokens, width, tokens, 0, 0]),
            read(patches.data()),
            read(class.data()),
            read(positions.data()),
            before,
        ],
        groups: [views * tokens, 1, 1],
        expected: out.data().to_vec(),
        tolerance: 0.0,
    }
}

fn gather_rows() -> Case {
    let (rows, height, width) = ([4, 0, 4, 6], 7, 70);
    let (input, mut out) = (tensor(height, width, 1), tensor(rows.len(), width, 2));
    let before = read_write(out.data());
    Reference.gather_rows(GatherRowsArgs { input: &input, rows: &rows, first_row: 0, out: &mut out }).unwrap();
    Case {
        kernel: "gather_rows",
        constants: vec![],
        bindings: vec![uniform(&[rows.len(), width, 0, height, 0, 0]), read(input.data()), read(&rows), before],
        groups: [rows.len(), 1, 1],
        expected: out.data().to_vec(),
        tolerance: 0.0,
    }
}

fn l2_normalize() -> Case {
    let (rows, width) = (5, 70);
    let mut out = tensor(rows, width, 1);
    let before = read_write(out.data());
    Reference.l2_normalize(L2NormalizeArgs { tensor: &mut out }).unwrap();
    Case {
        kernel: "l2_normalize",
        constants: vec![],
        bindings: vec![uniform(&[rows, width, 0]), before],
        groups: [rows, 1, 1],
        expected: out.data().to_vec(),
        tolerance: rounding(width),
    }
}

/// A segment of more rows than a workgroup takes at once, and an empty one.
fn alignment_weights() -> Case {
    let (width, scale, offsets) = (40, 20.0, [0, 70, 70, 75]);
    let (mut rows, mut anchors) = (tensor(75, width, 1), tensor(3, width, 2));
    let (mut lengths, mut out) = (tensor(1, 3, 4), tensor(1, 75, 3));
    Reference.l2_normalize(L2NormalizeArgs { tensor: &mut rows }).unwrap();
    Reference.l2_normalize(L2NormalizeArgs { tensor: &mut anchors }).unwrap();
    let before = read_write(out.data());
    Reference
        .alignment_weights(AlignmentWeightsArgs {
            rows: &rows,
            anchors: &anchors,
            offsets: &offsets,
            scale,
            lengths: &mut lengths,
            out: &mut out,
        })
        .unwrap();
    Case {
        kernel: "alignment_weights",
        constants: vec![],
        bindings: vec![
            uniform(&[width, bits(scale), 0, 3, 0, 0]),
            read(rows.data()),
            read(anchors.data()),
            read(&offsets),
            read_write(lengths.data()),
            before,
        ],
        groups: [3, 1, 1],
        expected: out.data().to_vec(),
        tolerance: 4.0 * rounding(width) * (1.0 + scale),
    }
}

/// More views, and more of the best, than a workgroup takes at once; an empty class, and texts of weight 0.
fn weighted_similarity((storage, precision): (&'static str, Precision), reduction: Reduction) -> Case {
    let (views, texts, width, classes) = (70, 33, 40, [0, 20, 20, 33]);
    // Small whole numbers make exact sums: what counts as better does not hang on rounding.
    let whole = |rows, seed| -> Vec<f32> { wave(rows * width, seed).iter().map(|x| (x * 3.0).round()).collect() };
    let (view_rows, text_rows) = (whole(views, 1), whole(texts, 2));
    let view_weights: Vec<f32> = wave(views, 3).iter().map(|x| x.abs()).collect();
    let text_weights: Vec<f32> = wave(texts, 4).iter().map(|x| x.max(0.0)).collect();
    let score = |view_rows: &[f32], text_rows: &[f32]| {
        let upload = |rows, cols, data: &[f32]| Reference.upload(Shape::new(rows, cols), data).unwrap();
        let (v, w, t) =
            (upload(views, width, view_rows), upload(1, views, &view_weights), upload(1, texts, &text_weights));
        let layer = Reference.pack(Shape::new(texts, width), text_rows, None, precision).unwrap();
        let mut out = tensor(1, 3, 5);
        Reference
            .weighted_similarity(WeightedSimilarityArgs {
                views: &v,
                view_weights: &w,
                texts: &layer,
                text_weights: &t,
                pictures: &[0, views as u32],
                classes: &classes,
                reduction,
                out: &mut out,
            })
            .unwrap();
        out.data().to_vec()
    };
    let magnitudes = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let largest = score(&magnitudes(&view_rows), &magnitudes(&text_rows)).into_iter().fold(0.0, f32::max);

    let best = match reduction {
        Reduction::WeightedMean => 0,
        Reduction::BestMean(k) => k,
    };
    let (stride, packed) = packed(&text_rows, width, precision);
    Case {
        kernel: "weighted_similarity",
        constants: vec![("STORAGE", storage)],
        bindings: vec![
            uniform(&[width, stride, best, 0, 3, 3, 0, 0, 0]),
            read(&view_rows),
            read(&view_weights),
            packed,
            read(&text_weights),
            read(&[0, views as u32]),
            read(&classes),
            read_write(&wave(3, 5)),
        ],
        groups: [3, 1, 1],
        expected: score(&view_rows, &text_rows),
        // The same sums of magnitudes bound the rounding.
        tolerance: rounding(width + views + texts) * largest,
    }
}

/// The words of a case's output, or what went wrong.
type Outcome = Result<Vec<u32>, String>;

/// What the page found.
fn outcomes(cases: &[Case]) -> Result<Vec<Outcome>, String> {
    let cases: Value = cases.iter().map(Case::json).collect();
    let files = [File::new("", PAGE), File::new("cases", cases.to_string())];
    serde_json::from_str(&chromium::results(files.into(), WebGpu::Offered)?).unwrap()
}
