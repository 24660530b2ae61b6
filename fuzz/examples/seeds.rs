//! Writes `seeds/`: `cargo run --example seeds`. The same files every time.

use crossalign::align::Kept;
use crossalign::engine::{Embeddings, ModelOptions, Towers};
use crossalign::{CompileOptions, Model, Prompts, Reduction, Score};
use image::{DynamicImage, ExtendedColorType, ImageFormat};
use safetensors::tensor::{Dtype, TensorView};
use std::io::{Cursor, Write};
use std::path::Path;

fn main() {
    weights();
    config();
    prompts();
    labels();
    boxes();
    classifier();
    tokenizer();
    picture();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(root().join("../tests/golden").join(name)).unwrap()
}

fn write(target: &str, name: &str, parts: &[&[u8]]) {
    let folder = root().join("seeds").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), parts.concat()).unwrap();
}

fn weights() {
    write("weights", "one_wide", &[&[0], &one_wide_model()]);
    for (kind, name) in [(1, "transformers"), (2, "openai")] {
        write("weights", name, &[&[kind]]);
        write("weights", &format!("{name}_not_a_number"), &[&[kind, 2, 0xff, 0x7f, 1, 0]]);
        write("weights", &format!("{name}_cut"), &[&[kind, 3, 0, 0x10, 1, 0]]);
        write("weights", &format!("{name}_longer"), &[&[kind, 4, 0xff, 0xff, 0xff, 0]]);
        write("weights", &format!("{name}_header"), &[&[kind, 0, 7, 0, 0, 0x7f]]);
    }
}

/// The model of the body's one-wide config.
fn one_wide_model() -> Vec<u8> {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    add("vision_model.embeddings.class_embedding".into(), &[1]);
    add("vision_model.embeddings.patch_embedding.weight".into(), &[1, 3, 1, 1]);
    add("vision_model.embeddings.position_embedding.weight".into(), &[2, 1]);
    add("text_model.embeddings.token_embedding.weight".into(), &[814, 1]);
    add("text_model.embeddings.position_embedding.weight".into(), &[8, 1]);
    add("visual_projection.weight".into(), &[1, 1]);
    add("text_projection.weight".into(), &[1, 1]);
    for norm in ["vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"] {
        add(format!("{norm}.weight"), &[1]);
        add(format!("{norm}.bias"), &[1]);
    }
    for tower in ["vision_model", "text_model"] {
        let layer = format!("{tower}.encoder.layers.0");
        for norm in ["layer_norm1", "layer_norm2"] {
            add(format!("{layer}.{norm}.weight"), &[1]);
            add(format!("{layer}.{norm}.bias"), &[1]);
        }
        for linear in
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"]
        {
            add(format!("{layer}.{linear}.weight"), &[1, 1]);
        }
    }
    let zeros = vec![0; 2 * 814];
    let view = |(name, shape): &(String, Vec<usize>)| {
        let bytes = 2 * shape.iter().product::<usize>();
        (name.clone(), TensorView::new(Dtype::F16, shape.clone(), &zeros[..bytes]).unwrap())
    };
    safetensors::serialize(shapes.iter().map(view), None).unwrap()
}

fn config() {
    let open_clip = golden("models/open_clip/open_clip_config.json");
    let preprocessor = golden("models/transformers/preprocessor_config.json");
    write("config", "transformers", &[&[0], &golden("models/transformers/config.json")]);
    write("config", "transformers_empty", &[&[0], b"{}"]);
    write("config", "open_clip", &[&[1], &open_clip]);
    write(
        "config",
        "open_clip_no_such_float",
        &[&[1], br#"{"model_cfg": {"vision_cfg": {"mlp_ratio": 1e-300, "head_width": 1048576}}}"#],
    );
    write("config", "preprocessor", &[&[2], &preprocessor]);
    write("config", "preprocessor_infinite", &[&[2], br#"{"image_mean": [1e300, 0, 0], "image_std": [1e-300, 1, 1]}"#]);
    write(
        "config",
        "processor",
        &[&[3], br#"{"processor_class": "CLIPProcessor", "image_processor": "#, &preprocessor, b"}"],
    );
    write("config", "index", &[&[4], &index(&golden("models/transformers/model.safetensors"))]);
    write("config", "index_outside", &[&[4], br#"{"weight_map": {"a": "../part.safetensors"}}"#]);
    write("config", "preprocessor_negative", &[&[5], br#"{"image_std": [-1, 1, 1]}"#]);
}

/// The index of a file's tensors, all in one part.
fn index(file: &[u8]) -> Vec<u8> {
    let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    let map: serde_json::Map<_, _> =
        names.into_iter().map(|name| (name.to_string(), "part.safetensors".into())).collect();
    serde_json::json!({"metadata": {}, "weight_map": map}).to_string().into_bytes()
}

fn prompts() {
    write(
        "prompts",
        "classes",
        &[r#"{"cat": ["whiskers", "pointed ears"], "a \"dog\"\n": ["日本", "é", "é"]}"#.as_bytes()],
    );
    write("prompts", "classes_chosen", &[b"{\"cat\": [\"whiskers\"], \"dog\": [\"a wet nose\"]}\0[\"dog\"]"]);
    write("prompts", "templates", &[b"[\"a photo of a {}.\", \"{} {}\"]\0[\"cat\", \"{}\"]"]);
    write("prompts", "one_each", &[br#"{"cat": "whiskers", "dog": ["a wet nose"]}"#]);
    write(
        "prompts",
        "by_prompt",
        &[br#"{"cat": {"Describe a cat": ["whiskers", "ears"], "What is a cat?": "fur"}, "dog": {"a": [], "b": ["x"]}}"#],
    );
    write("prompts", "too_deep", &[br#"{"cat": {"a": {"b": ["whiskers"]}}}"#]);
    write("prompts", "class_twice", &[br#"{"cat": ["whiskers"], "c\u0061t": ["ears"]}"#]);
    write("prompts", "deep", &["[".repeat(1000).as_bytes()]);
}

fn labels() {
    write("labels", "lines", &["cat\nnight sky\n日本\n".as_bytes()]);
    write("labels", "windows", &[b"\r\n  cat\t\r\n\r\ntench, Tinca tinca\r\n"]);
    write("labels", "list", &[r#" ["cat", "a \"dog\"\n", ""]"#.as_bytes()]);
    write("labels", "object", &[br#"{"cat": ["whiskers"]}"#]);
    write("labels", "one_line", &[b"cat, dog\n"]);
}

fn boxes() {
    let picture = [200, 0, 100, 0, 8]; // 200×100, views of 8
    write("boxes", "inside", &[&picture, b"[[0, 0, 200, 100], [199, 99, 1, 1], [10, 20, 30, 40]]"]);
    write("boxes", "outside", &[&picture, b"[[199, 0, 2, 1]]"]);
    write("boxes", "overflow", &[&picture, b"[[4294967295, 0, 4294967295, 1]]"]);
    write("boxes", "fractions", &[&picture, b"[[0.0, 0, 1e0, 1]]"]);
    write("boxes", "no_picture", &[&[0, 0, 9, 0, 8], b"[]"]);
    write("boxes", "long_side", &[&[0xff, 0x0f, 1, 0, 255], b"[[0, 0, 4095, 1], [1, 0, 4094, 1]]"]);
}

fn classifier() {
    let dir = root().join("../tests/golden/models/transformers");
    let model = Model::load(dir, &ModelOptions::default().with_towers(Towers::Text)).unwrap();
    let prompts = Prompts::from_json(r#"{"cat": ["whiskers", "ears"], "dog": ["a wet nose"]}"#).unwrap();
    // Rounded, so that the seeds are the same on every processor.
    let round = |data: &mut Vec<f32>| data.iter_mut().for_each(|x| *x = (*x * 256.0).round() / 256.0);
    let compile = |options: CompileOptions| {
        let mut compiled = model.compile_texts(&prompts, &options).unwrap();
        match &mut compiled.kept {
            Kept::Vectors(vectors) => round(&mut vectors.data),
            Kept::Texts(texts) => {
                round(&mut texts.embeddings.data);
                round(&mut texts.weights);
            }
        }
        compiled
    };
    let mut two_classes = compile(CompileOptions::default());
    let bytes = two_classes.to_bytes().unwrap();
    write("classifier", "two_classes", &[&bytes]);
    write("classifier", "not_a_number", &[&bytes[..bytes.len() - 4], &f32::NAN.to_le_bytes()]);
    write("classifier", "format_1", &[include_bytes!("../../tests/align/format_1.safetensors")]);
    let best = CompileOptions::default().with_score(Score::Paper).with_reduction(Reduction::BestMean(2));
    write("classifier", "texts", &[&compile(best).to_bytes().unwrap()]);
    two_classes.kept = Kept::Vectors(Embeddings { width: 1, data: vec![1.0, -0.0] });
    write("classifier", "another_width", &[&two_classes.to_bytes().unwrap()]);
}

fn tokenizer() {
    let texts = [
        ("plain", "a photo of a cat."),
        ("special", "<|startoftext|><|endoftext|> <|endoftext|>x"),
        ("entities", "&amp;amp;lt; &EACUTE; &#x80; &#xD800; &notit; <b>&eacute;"),
        ("garbled", "cafÃ© doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t ðŸ˜‚ \u{1b}[0m\u{0}"),
        ("scripts", "日本語 Ελληνικά кириллица हिन्दी e\u{301} İ ﬃ 😀\u{200d}"),
        ("long", &"word 1234 ".repeat(60)),
    ];
    for (name, text) in texts {
        write("tokenizer", name, &[&[0], text.as_bytes()]);
        write("tokenizer", &format!("{name}_cleaned"), &[&[1], text.as_bytes()]);
    }
    write("tokenizer", "golden_json", &[&[2], &golden("tokenizer.json")]);
    older_tokenizers();
    let file = |normalizer: &str, processor: &str| {
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {normalizer},
            "pre_tokenizer": null, "post_processor": {processor}, "decoder": null,
            "model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1}}, "merges": []}}}}"#
        )
    };
    let roberta = r#"{"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["a", 0], "trim_offsets": true, "add_prefix_space": false}"#;
    write("tokenizer", "small_json", &[&[2], file("null", roberta).as_bytes()]);
    let template = r#"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "missing", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}"#;
    write("tokenizer", "missing_special_json", &[&[2], file("null", template).as_bytes()]);
    // Two tokens for the empty text, none for others.
    let vanishing = r#"{"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"Regex": "^$"}, "content": "ab"},
        {"type": "Replace", "pattern": {"Regex": "[^ab]|.{3,}"}, "content": ""}]}"#;
    write("tokenizer", "vanishing_json", &[&[2], file(vanishing, "null").as_bytes()]);
}

/// The golden tokenizer in the forms before `tokenizer.json`.
fn older_tokenizers() {
    let json: serde_json::Value = serde_json::from_slice(&golden("tokenizer.json")).unwrap();
    let pair = |pair: &serde_json::Value| format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    let merges: String = json["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
    let merges = format!("#version: 0.2\n{merges}");
    write("tokenizer", "vocab_json", &[&[3], json["model"]["vocab"].to_string().as_bytes()]);
    write("tokenizer", "merges_txt", &[&[4], b"#version: 0.2\na b\na b</w>\n"]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(merges.as_bytes()).unwrap();
    write("tokenizer", "openai_gz", &[&[5], &encoder.finish().unwrap()]);
}

fn picture() {
    let (width, height) = (13, 7);
    let samples: Vec<u8> = (0..width * height * 8).map(|i| (i * 37 % 256) as u8).collect();
    let encode = |name: &str, color: ExtendedColorType, format: ImageFormat| {
        let bytes = (width * height) as usize * usize::from(color.bits_per_pixel()) / 8;
        let mut file = Cursor::new(Vec::new());
        image::write_buffer_with_format(&mut file, &samples[..bytes], width, height, color, format).unwrap();
        write("picture", name, &[file.get_ref()]);
    };
    encode("grey.png", ExtendedColorType::L8, ImageFormat::Png);
    encode("alpha16.png", ExtendedColorType::Rgba16, ImageFormat::Png);
    encode("rgb.jpg", ExtendedColorType::Rgb8, ImageFormat::Jpeg);
    encode("rgb.webp", ExtendedColorType::Rgb8, ImageFormat::WebP);
    encode("rgb.bmp", ExtendedColorType::Rgb8, ImageFormat::Bmp);
    encode("rgb.gif", ExtendedColorType::Rgb8, ImageFormat::Gif);
    encode("rgb16.tiff", ExtendedColorType::Rgb16, ImageFormat::Tiff);
    let mut file = Cursor::new(Vec::new());
    DynamicImage::new_luma8(1, 3000).write_to(&mut file, ImageFormat::Png).unwrap();
    write("picture", "narrow.png", &[file.get_ref()]);
    // The JPEG again, turned by a quarter: EXIF behind the start marker.
    let jpeg = std::fs::read(root().join("seeds/picture/rgb.jpg")).unwrap();
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    write("picture", "turned.jpg", &[&jpeg[..2], exif, &jpeg[2..]]);
    // Kinds that the encoders above do not write.
    for name in [
        "bilevel.tif",
        "big_palette.tif",
        "cmyk.jpg",
        "dnl.jpg",
        "frame_transparent.gif",
        "lossy.webp",
        "noeoi_trailer.jpg",
        "noiend_adam7.png",
        "orientation_exif.webp",
        "orientation_xmp.png",
        "palette4.tif",
        "planar.tif",
        "progressive.jpg",
        "progressive_restart.jpg",
        "scans.jpg",
        "thumbnail.jpg",
        "white_is_zero_alpha.tif",
        "ycbcr_jpeg.tif",
    ] {
        write("picture", name, &[&std::fs::read(root().join("../tests/pictures").join(name)).unwrap()]);
    }
}
