//! Hostile config files beside golden weights.

use super::folder::{
    Folder, OPEN_CLIP, OPEN_CLIP_CONFIG, TOKENIZER, TRANSFORMERS, TRANSFORMERS_CONFIG, assert_encodes,
};
use crossalign::model::Config;

/// The first byte says which config file, or index of weights, the others are.
pub fn config(data: &[u8]) {
    let Some((kind, hostile)) = data.split_first() else { return };
    let transformers = ("model.safetensors", TRANSFORMERS);
    let open_clip = ("open_clip_model.safetensors", OPEN_CLIP);
    let preprocessor = ("preprocessor_config.json", hostile);
    let tokenizer = ("tokenizer.json", TOKENIZER);
    let transformers_config = ("config.json", TRANSFORMERS_CONFIG);
    let folder = Folder::with(&match kind % 6 {
        0 => vec![transformers, tokenizer, ("config.json", hostile)],
        1 => vec![open_clip, tokenizer, ("open_clip_config.json", hostile)],
        2 => vec![transformers, tokenizer, transformers_config, preprocessor],
        3 => vec![transformers, tokenizer, transformers_config, ("processor_config.json", hostile)],
        4 => {
            let (index, part) = (("model.safetensors.index.json", hostile), ("part.safetensors", TRANSFORMERS));
            vec![index, part, tokenizer, transformers_config]
        }
        _ => vec![open_clip, tokenizer, ("open_clip_config.json", OPEN_CLIP_CONFIG), preprocessor],
    });
    let Some(model) = folder.load(Default::default()) else { return };
    let config = model.config();
    assert_eq!(&Config::open(folder.path(), None).expect("what was loaded has a config"), config);
    assert!(config.image_size.is_multiple_of(config.patch_size));
    assert!(config.mean.iter().chain(&config.std).all(|number| number.is_finite()));
    for tower in [&config.vision, &config.text] {
        assert!(tower.width.is_multiple_of(tower.heads) && tower.eps.is_finite());
    }
    assert_encodes(&model);
}
