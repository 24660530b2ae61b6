//! The files that people have in a folder: weights in parts and under other names, older tokenizers, other formats.

use super::folder::{Folder, assert_gives, assert_refused, golden, load, write_tensors};
use super::forward::{self, Tensors};
use crossalign::engine::Towers;
use crossalign::model::{Activation, Config};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Splits the weights into parts with an index; returns the parts' names.
fn split(folder: &Folder, stem: &str, index: &str) -> [String; 2] {
    let path = folder.weights();
    let tensors = forward::read(&path);
    std::fs::remove_file(path).unwrap();
    let names = [1, 2].map(|i| format!("{stem}-0000{i}-of-00002.safetensors"));
    let mut parts = [Tensors::new(), Tensors::new()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), names[i % 2].as_str().into());
        parts[i % 2].insert(name, tensor);
    }
    for (name, part) in names.iter().zip(&parts) {
        write_tensors(&folder.file(name), part);
    }
    folder.write(index, json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string());
    names
}

#[test]
fn weights_in_parts() {
    for (model, stem, index) in [
        ("transformers", "model", "model.safetensors.index.json"),
        ("transformers", "model.fp16", "model.safetensors.index.fp16.json"),
        ("open_clip", "open_clip_model", "open_clip_model.safetensors.index.json"),
    ] {
        let folder = Folder::golden(model);
        let clip = folder.clip();
        let parts = split(&folder, stem, index);
        assert_gives(&folder.load().unwrap(), &clip, index);
        assert_gives(&load(&folder.file(index), Towers::Both, None).unwrap(), &clip, "the index by its path");

        let part = std::fs::read(folder.file(&parts[1])).unwrap();
        folder.remove(&parts[1]);
        assert_refused(folder.load(), &[&parts[1]]);
        folder.write(&parts[1], std::fs::read(folder.file(&parts[0])).unwrap());
        assert_refused(folder.load(), &["each tensor in one file"]);
        folder.write(&parts[1], &part[..part.len() / 2]);
        assert_refused(folder.load(), &[&parts[1], "header"]);
        folder.write(&parts[1], part);

        let index_json = folder.json(index);
        for (value, message) in [
            (json!({}), "weight_map"),
            (json!({"weight_map": {}}), "no tensors"),
            (json!({"weight_map": {"a": "../model.safetensors"}}), "../model.safetensors"),
            (json!({"weight_map": {"a": "/etc/passwd"}}), "/etc/passwd"),
            (json!({"weight_map": {"a": ""}}), "weight_map"),
            (json!({"weight_map": {"a": "x.bin"}}), "x.bin"),
            (json!({"weight_map": {"a": parts[0]}}), "tensor a"),
            (json!([]), "index"),
        ] {
            folder.write(index, value.to_string());
            assert_refused(folder.load(), &[message]);
        }
        // A tensor that the index has in the other part.
        let mut moved = index_json.clone();
        let (name, part) = {
            let (name, part) = index_json["weight_map"].as_object().unwrap().iter().next().unwrap();
            (name.clone(), part.clone())
        };
        moved["weight_map"][&name] = if part == parts[0].as_str() { json!(parts[1]) } else { json!(parts[0]) };
        folder.write(index, moved.to_string());
        assert_refused(folder.load(), &[&name]);
    }
}

#[test]
fn weights_under_other_names() {
    for name in
        ["model.fp16.safetensors", "open_clip_model.fp32.safetensors", "clip-vit.safetensors", "ViT-B-32.safetensors"]
    {
        let folder = Folder::golden("transformers");
        let clip = folder.clip();
        folder.rename("model.safetensors", name);
        assert_gives(&folder.load().unwrap(), &clip, name);
        assert_gives(&load(&folder.file(name), Towers::Both, None).unwrap(), &clip, "by its path");
    }
    // The plain name comes first, whatever else there is; a variant comes before strangers.
    let folder = Folder::golden("transformers");
    folder.write("adapter_model.safetensors", "no safetensors");
    folder.write("model.fp16.safetensors", "no safetensors");
    assert!(folder.load().is_ok());
    folder.rename("model.safetensors", "model.bf16.safetensors");
    assert_refused(folder.load(), &["model.bf16.safetensors, model.fp16.safetensors", "the path"]);
    folder.remove("model.fp16.safetensors");
    assert!(folder.load().is_ok());
    folder.rename("model.bf16.safetensors", "other.safetensors");
    assert_refused(folder.load(), &["adapter_model.safetensors, other.safetensors"]);
    assert!(load(&folder.file("other.safetensors"), Towers::Both, None).is_ok());
    // Both libraries' weights in one folder, as LAION publishes them: transformers' are taken.
    let folder = Folder::golden("transformers");
    std::fs::copy(golden("open_clip").join("open_clip_model.safetensors"), folder.file("open_clip_model.safetensors"))
        .unwrap();
    std::fs::copy(golden("open_clip").join("open_clip_config.json"), folder.file("open_clip_config.json")).unwrap();
    assert_gives(&folder.load().unwrap(), &folder.clip(), "both");
}

/// Packed weights with transformers' config, and the other way round: a config is read, whoever wrote it.
#[test]
fn configs_of_the_other_library() {
    let folder = Folder::golden("open_clip");
    folder.remove("open_clip_config.json");
    assert_refused(folder.load(), &["activation"]);
    let tower = |width, heads, mlp| {
        json!({"hidden_size": width, "num_attention_heads": heads, "intermediate_size": mlp, "num_hidden_layers": 2,
            "hidden_act": "gelu"})
    };
    let (mut vision, mut text) = (tower(64, 4, 192), tower(48, 2, 96));
    (vision["image_size"], vision["patch_size"]) = (json!(16), json!(8));
    (text["max_position_embeddings"], text["vocab_size"], text["eos_token_id"]) = (json!(40), json!(814), json!(813));
    let config = json!({"projection_dim": 40, "vision_config": vision, "text_config": text});
    folder.write("config.json", config.to_string());
    let mut clip = folder.clip();
    clip.mean = [0.48145466, 0.4578275, 0.40821073].map(|x: f64| x * 255.0);
    clip.std = [0.26862954, 0.26130258, 0.27577711].map(|x: f64| x * 255.0);
    assert_gives(&folder.load().unwrap(), &clip, "config.json beside packed weights");
}

/// transformers' and OpenAI's older tokenizer files give the ids that tokenizer.json gives.
#[test]
fn older_tokenizers() {
    let folder = Folder::golden("transformers");
    let clip = folder.clip();
    let json = folder.json("tokenizer.json");
    let merges: Vec<String> = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    let merges = format!("#version: 0.2\n{}", merges.concat());
    let reference = folder.load().unwrap();
    let texts = [
        "It's THE   end\nof 3,14 cats",
        "naïve café — ﬁne",
        "<|endoftext|> inside",
        "日本語 ☕️ emoji",
        "",
        "'re they've",
    ];
    let same_ids = |folder: &Folder, what: &str| {
        let model = folder.load().unwrap();
        for text in texts {
            let ids = |model: &crossalign::Model| model.tokenizer().unwrap().encode(text).unwrap().ids;
            assert_eq!(ids(&model), ids(&reference), "{what}: {text}");
        }
        assert_gives(&model, &clip, what);
    };
    folder.remove("tokenizer.json");
    assert_refused(folder.load(), &["tokenizer.json", "vocab.json", "merges.txt", "bpe_simple_vocab_16e6.txt.gz"]);
    folder.write("vocab.json", json["model"]["vocab"].to_string());
    assert_refused(folder.load(), &["merges.txt"]);
    folder.write("merges.txt", &merges);
    same_ids(&folder, "vocab.json");
    for (bad, part) in [("#version\nth", "line 2"), ("#v\na b c\n", "line 2"), ("#v\n b\n", "line 2")] {
        folder.write("merges.txt", bad);
        assert_refused(folder.load(), &["merges.txt", part]);
    }
    folder.write("merges.txt", [b'#', b'\n', 0xff, b' ', b'a']);
    assert_refused(folder.load(), &["merges.txt", "UTF-8"]);
    folder.write("merges.txt", &merges);
    for (bad, part) in [("{}", "<|startoftext|>"), ("[]", "vocabulary"), ("{", "vocabulary")] {
        folder.write("vocab.json", bad);
        assert_refused(folder.load(), &["vocab.json", part]);
    }
    folder.remove("vocab.json");

    let zip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    folder.write("bpe_simple_vocab_16e6.txt.gz", zip(&merges));
    same_ids(&folder, "bpe_simple_vocab_16e6.txt.gz");
    folder.write("bpe_simple_vocab_16e6.txt.gz", &zip(&merges)[..100]);
    assert_refused(folder.load(), &["bpe_simple_vocab_16e6.txt.gz"]);
}

/// The config pools where the tokenizer ends.
#[test]
fn end_tokens() {
    let folder = Folder::golden("openai");
    let activation = Some(Activation::QuickGelu);
    let mut json = folder.json("tokenizer.json");
    assert!(folder.load_with(Towers::Both, activation).is_ok());
    // OpenAI's tower pools at the highest id: a token above the end token would move that.
    let mut token = json["added_tokens"][0].clone();
    (token["id"], token["content"]) = (json!(814), json!("<|extra|>"));
    json["added_tokens"].as_array_mut().unwrap().push(token);
    folder.write("tokenizer.json", json.to_string());
    assert_refused(folder.load_with(Towers::Both, activation), &["end token", "813", "814"]);
}

/// A template names tokens that it does not define, alone or among other steps.
#[test]
fn special_tokens_must_be_defined() {
    let folder = Folder::golden("transformers");
    let mut json = folder.json("tokenizer.json");
    json["post_processor"]["special_tokens"].as_object_mut().unwrap().remove("<|endoftext|>");
    folder.write("tokenizer.json", json.to_string());
    let words = ["tokenizer.json", "special token \"<|endoftext|>\" without an entry"];
    assert_refused(folder.load(), &words);
    json["post_processor"] = json!({"type": "Sequence", "processors": [json["post_processor"]]});
    folder.write("tokenizer.json", json.to_string());
    assert_refused(folder.load(), &words);
}

#[test]
fn other_formats_are_named_with_what_converts_them() {
    for (file, what, remedy) in [
        ("pytorch_model.bin", "PyTorch", "torch.load"),
        ("open_clip_pytorch_model.bin", "PyTorch", "torch.load"),
        ("ViT-B-32.pt", "PyTorch", "torch.jit.load"),
        ("epoch_32.pth", "PyTorch", "torch.load"),
        ("last.ckpt", "PyTorch", "state_dict"),
        ("model.onnx", "ONNX", "hf download"),
        ("clip-vit-base-patch32_ggml-model-f16.gguf", "GGUF", "hf download"),
        ("flax_model.msgpack", "Flax", "hf download"),
        ("tf_model.h5", "TensorFlow", "hf download"),
    ] {
        let folder = Folder::golden("transformers");
        folder.rename("model.safetensors", file);
        assert_refused(folder.load(), &[what, file, remedy]);
        assert_refused(load(&folder.file(file), Towers::Both, None), &[what, file, remedy]);
    }
    let folder = Folder::golden("transformers");
    folder.remove("model.safetensors");
    assert_refused(folder.load(), &["no safetensors file", "model.safetensors"]);
    folder.write("modules.json", "[]");
    assert_refused(folder.load(), &["sentence-transformers", "0_CLIPModel"]);
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605247071\n";
    for file in ["model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"] {
        let folder = Folder::golden("transformers");
        folder.write(file, pointer);
        assert_refused(folder.load(), &[file, "Git LFS pointer", "git lfs pull"]);
    }
}

/// An index names safetensors files of its own folder.
#[test]
fn parts_lie_beside_their_index() {
    for part in ["../model.safetensors", "/model.safetensors", "parts/model.safetensors", "model.bin"] {
        let folder = Folder::golden("transformers");
        folder.remove("model.safetensors");
        folder.write("model.safetensors.index.json", json!({"weight_map": {"logit_scale": part}}).to_string());
        assert_refused(folder.load(), &["model.safetensors.index.json", "weight_map", part]);
    }
}

#[test]
fn what_is_no_folder() {
    let load = |path: &str| load(Path::new(path), Towers::Both, None);
    assert_refused(load("/no/such/folder"), &["/no/such/folder", "no such folder"]);
    assert_refused(load("no-such-folder"), &["no such folder"]);
    // No names on the hub (tests/hub), which would be asked.
    for path in ["./models/clip", "../clip/b32", "a/b/c", "laion/", "a/b@", "a b/c"] {
        assert_refused(load(path), &["no such folder", "ORG/NAME@REVISION"]);
    }
    let folder = Folder::golden("transformers");
    folder.write("notes.txt", "hello");
    assert_refused(super::folder::load(&folder.file("notes.txt"), Towers::Both, None), &["notes.txt"]);
    let tokenizer = super::folder::load(&folder.file("tokenizer.json"), Towers::Both, None);
    assert_refused(tokenizer, &["tokenizer.json", "no safetensors file"]);
}

/// The config alone is what the whole model has.
#[test]
fn configs_alone() {
    for name in ["transformers", "open_clip", "openai"] {
        let activation = (name == "openai").then_some(Activation::QuickGelu);
        let model = load(&golden(name), Towers::Both, activation).unwrap();
        assert_eq!(model.config(), &Config::open(golden(name), activation).unwrap());
    }
    let folder = Folder::golden("transformers");
    folder.set("preprocessor_config.json", "size", json!({"height": 24, "width": 24}));
    let plan = |config: Config| config.plan_views((30, 60), &[]).unwrap();
    let squashed = plan(Config::open(folder.path(), None).unwrap());
    let centred = plan(Config::open(golden("transformers"), None).unwrap());
    assert_ne!(format!("{squashed:?}"), format!("{centred:?}"));
}
