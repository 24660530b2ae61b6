//! The fields that a configuration may have with any value: none can change an embedding.
//!
//! Sources: `to_dict()` of transformers' CLIPConfig, CLIPTextConfig, CLIPVisionConfig and CLIPImageProcessor from 4.10 to
//! 5.24, and the dataclasses of open_clip 2.0 to 3.3. What is not in this list and not read is refused.

/// A reason, the end of the path of the objects that the fields are in (empty: any object), and the fields.
type Group = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    ("names and versions", "", &[
        "_name_or_path", "name_or_path", "_commit_hash", "architectures", "transformers_version", "processor_class",
        "tokenizer_class", "_processor_class",
    ]),
    ("how weights are stored or computed; the file's tensors tell, and the precision is an option", "", &[
        "torch_dtype", "dtype", "use_bfloat16", "torchscript", "cast_dtype", "attn_implementation",
        "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    ]),
    ("initial values, before training", "", &[
        "initializer_range", "initializer_factor", "logit_scale_init_value", "init_logit_scale", "init_logit_bias",
        "nonscalar_logit_scale",
    ]),
    ("dropped in training only", "", &[
        "attention_dropout", "dropout", "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob",
    ]),
    ("dropped in training only", "vision_cfg.", &["patch_dropout"]),
    ("memory in training only", "", &["gradient_checkpointing", "use_cache"]),
    ("what a call returns beside the embedding", "", &[
        "output_attentions", "output_hidden_states", "return_dict", "output_dict",
    ]),
    ("splits a product by rows, which changes no row", "", &["chunk_size_feed_forward"]),
    ("ties weights in training; the file has what was trained", "", &[
        "tie_word_embeddings", "tie_encoder_decoder", "tf_legacy_loss",
    ]),
    ("classification heads, which CLIP lacks", "", &[
        "finetuning_task", "id2label", "label2id", "num_labels", "problem_type", "task_specific_params",
    ]),
    ("generation of text, which CLIP does not do", "", &[
        "bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id", "diversity_penalty", "do_sample",
        "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id",
        "forced_eos_token_id", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
        "num_beams", "num_return_sequences", "output_scores", "prefix", "remove_invalid_values", "repetition_penalty",
        "return_dict_in_generate", "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
    ]),
    ("tokenizer.json has the tokens, and padding is not computed", "", &[
        "bos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "mask_token_id",
    ]),
    ("open_clip pads with token 0 whatever it says", "text_cfg.", &["pad_id"]),
    // The towers' own values are for the towers alone (CLIPVisionModelWithProjection); CLIPModel takes the outer one.
    ("only the outer value is used", "text_config.", &["projection_dim"]),
    ("only the outer value is used", "vision_config.", &["projection_dim"]),
    ("only the outer value is used", "text_config_dict.", &["projection_dim"]),
    ("only the outer value is used", "vision_config_dict.", &["projection_dim"]),
    ("only read with add_cross_attention", "", &["cross_attention_hidden_size"]),
    ("only read with do_pad", "", &["pad_size", "size_divisor"]),
    ("the length of a language model's prompt", "", &["image_seq_length"]),
    ("which class holds the towers; their tensors' names tell", "model_cfg.", &["custom_text"]),
    ("only read with attentional_pool", "vision_cfg.", &["attn_pooler_queries", "attn_pooler_heads"]),
    ("only read with timm_model_name", "vision_cfg.", &[
        "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path",
    ]),
    ("only read with hf_model_name", "text_cfg.", &["hf_model_pretrained", "hf_proj_type", "hf_pooler_type"]),
    ("only read with the resize mode longest", "preprocess_cfg.", &["fill_color"]),
    ("the layout of arrays between Python libraries", "", &[
        "_valid_processor_keys", "data_format", "device", "disable_grouping", "input_data_format", "return_tensors",
    ]),
];

/// Whether a field of the object at `prefix` (`vision_config.`, or empty for the outermost) cannot change an embedding.
pub(super) fn is_irrelevant(prefix: &str, name: &str) -> bool {
    GROUPS.iter().any(|(_, place, names)| prefix.ends_with(place) && names.contains(&name))
}
