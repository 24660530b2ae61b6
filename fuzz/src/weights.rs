//! Hostile weight files.

use super::folder::{Folder, OPENAI, TOKENIZER, TRANSFORMERS, TRANSFORMERS_CONFIG, assert_encodes};
use safetensors::SafeTensors;

/// A CLIP so small that a fuzzer can hold all of its weights.
const ONE_WIDE_CONFIG: &[u8] = br#"{"projection_dim": 1,
    "vision_config": {"hidden_size": 1, "num_attention_heads": 1, "intermediate_size": 1, "num_hidden_layers": 1,
                      "image_size": 1, "patch_size": 1},
    "text_config": {"hidden_size": 1, "num_attention_heads": 1, "intermediate_size": 1, "num_hidden_layers": 1,
                    "vocab_size": 814, "max_position_embeddings": 8, "eos_token_id": 813}}"#;

/// Most of a golden file's header, where most bytes matter.
const HEADER: usize = 8192;

/// The first byte says what the others are: a weight file, or edits of a golden one.
pub fn weights(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (file, config) = match kind % 3 {
        0 => (rest.to_vec(), Some(ONE_WIDE_CONFIG)),
        1 => (edited(TRANSFORMERS, rest), Some(TRANSFORMERS_CONFIG)),
        _ => (edited(OPENAI, rest), None),
    };
    let mut files = vec![("model.safetensors", &file[..]), ("tokenizer.json", TOKENIZER)];
    files.extend(config.map(|config| ("config.json", config)));
    if let Some(model) = Folder::with(&files).load(Default::default()) {
        SafeTensors::deserialize(&file).expect("what was loaded is a safetensors file");
        assert_encodes(&model);
    }
}

/// Edits of five bytes: what is done, where, and with which byte.
fn edited(file: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for &[action, low, middle, high, byte] in edits.as_chunks().0 {
        let place = u32::from_le_bytes([low, middle, high, 0]) as usize;
        match action % 5 {
            0 => file.iter_mut().skip(place % HEADER).take(1).for_each(|b| *b = byte),
            1 => file.iter_mut().skip(place).take(1).for_each(|b| *b = byte),
            // All ones: not a number in f32, f16 and bf16.
            2 => file.iter_mut().skip(place).take(4).for_each(|b| *b = 0xff),
            3 => file.truncate(place),
            _ => file.insert(place.min(file.len()), byte),
        }
    }
    file
}
