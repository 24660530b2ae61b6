"""Writes a trained model as transformers' CLIPModel reads it."""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from captions import END, START
from model import CLIP


def towers(c, start, end):
    shared = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0, "initializer_factor": 1.0,
              "initializer_range": 0.02, "projection_dim": c["projection_dim"]}
    size = lambda t: {**c[t], "intermediate_size": 4 * c[t]["hidden_size"]}
    text = {"model_type": "clip_text_model", **size("text"), **shared, "vocab_size": c["vocab_size"],
            "max_position_embeddings": c["context"], "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {"model_type": "clip_vision_model", **size("vision"), **shared, "num_channels": 3,
              "image_size": c["image_size"], "patch_size": c["patch_size"]}
    return text, vision


def export(model, tokenizer, out):
    c, out = model.config, pathlib.Path(out)
    words = Tokenizer.from_file(str(tokenizer))
    text, vision = towers(c, words.token_to_id(START), words.token_to_id(END))
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "initializer_factor": 1.0,
              "logit_scale_init_value": 2.6592, "projection_dim": c["projection_dim"], "torch_dtype": "float16",
              "text_config": text, "vision_config": vision}
    side = {"height": c["image_size"], "width": c["image_size"]}
    pictures = {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
                "size": {"shortest_edge": c["image_size"]}, "resample": 3, "do_center_crop": True, "crop_size": side,
                "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    for name, value in (("config", config), ("preprocessor_config", pictures)):
        (out / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
    weights = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    if pathlib.Path(tokenizer).resolve() != (out / "tokenizer.json").resolve():
        shutil.copy(tokenizer, out / "tokenizer.json")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description="Exports a checkpoint as it stands.")
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    model = CLIP()
    model.load_state_dict(torch.load(a.checkpoint)["model"])
    export(model, a.checkpoint.parent / "tokenizer.json", a.out)
