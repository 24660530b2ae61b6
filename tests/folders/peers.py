"""Compares crossalign with open_clip itself, switch by switch: what `fields.rs` compares with its own f64 forward pass.

Usage: peers.py CROSSALIGN    with open_clip_torch==3.3.0, torch==2.15.0, torchvision==0.29.2, pillow==12.3.0, tokenizers==0.23.3,
safetensors==0.8.0. Prints the largest difference of an element of the unit embeddings, or the refusal.
"""

import json
import os
import subprocess
import sys
import tempfile

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden")
MODEL = f"{GOLDEN}/models/open_clip"
PICTURE = f"{GOLDEN}/pictures/landscape.png"
TEXTS = ["a photo of a cat.", "two dogs", "a rocket on the launch pad with flames and smoke behind it"]
END = 813

tokenizer = Tokenizer.from_file(f"{MODEL}/tokenizer.json")
tokenizer.no_padding()
tokenizer.no_truncation()


def tokens(context):
    rows = torch.zeros(len(TEXTS), context, dtype=torch.long)
    for row, text in zip(rows, TEXTS):
        ids = tokenizer.encode(text).ids
        if len(ids) > context:
            ids = [*ids[: context - 1], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def compare(name, changes, custom=False, prefix=""):
    config = json.load(open(f"{MODEL}/open_clip_config.json"))
    for place, fields in changes.items():
        (config["preprocess_cfg"] if place == "preprocess_cfg" else config["model_cfg"].setdefault(place, {})).update(fields)
    model_cfg = json.loads(json.dumps(config["model_cfg"]))
    torch.manual_seed(0)
    model = (CustomTextCLIP if custom else CLIP)(**model_cfg).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            spread = 0.3 if parameter.dim() > 1 else 0.5
            parameter.copy_(torch.randn_like(parameter) * spread + key.endswith("weight") * (parameter.dim() == 1))
    state = {prefix + key: value.contiguous() for key, value in model.state_dict().items()}
    model = model.double()
    preprocess = PreprocessCfg(**{**config["preprocess_cfg"], "size": model_cfg["vision_cfg"]["image_size"]})
    picture = image_transform_v2(preprocess, is_train=False)(Image.open(PICTURE))[None].double()
    with torch.no_grad():
        image = model.encode_image(picture, normalize=True)
        texts = model.encode_text(tokens(model_cfg["text_cfg"]["context_length"]), normalize=True)
    with tempfile.TemporaryDirectory() as folder:
        save_file(state, f"{folder}/open_clip_model.safetensors")
        json.dump(config, open(f"{folder}/open_clip_config.json", "w"))
        os.symlink(os.path.abspath(f"{MODEL}/tokenizer.json"), f"{folder}/tokenizer.json")
        json.dump(TEXTS, open(f"{folder}/texts.json", "w"))
        command = [sys.argv[1], "embed", "--device", "cpu", "--model", folder, "--image", PICTURE]
        command += ["--texts", f"{folder}/texts.json", "-o", f"{folder}/out.safetensors"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            print(f"{name:32} {run.stderr.strip()}")
            return
        found = load_file(f"{folder}/out.safetensors")
    image = (found["image_embeds"] - image).abs().max()
    texts = (found["text_embeds"] - texts).abs().max()
    print(f"{name:32} image {image:.1e}, texts {texts:.1e}{'' if max(image, texts) < 1e-5 else '  DIFFERENT'}")


compare("plain", {})
compare("custom text", {}, custom=True)
compare("prefix module.", {}, prefix="module.")
compare("prefix module.model.", {}, prefix="module.model.")
for name, fields in {
    "layer scale": {"ls_init_value": 0.1},
    "no norm before the blocks": {"no_ln_pre": True},
    "pool_type avg": {"pool_type": "avg"},
    "pool_type avg, norm last": {"pool_type": "avg", "final_ln_after_pool": True},
    "pool_type tok, norm last": {"final_ln_after_pool": True},
    "avg, no_ln_pre, layer scale": {"pool_type": "avg", "no_ln_pre": True, "ls_init_value": 0.3},
    "eps": {"norm_kwargs": {"eps": 0.1}},
    "gelu tanh": {"act_kwargs": {"approximate": "tanh"}},
    "sin_cos_2d": {"pos_embed_type": "sin_cos_2d"},
    "patch_dropout": {"patch_dropout": 0.5},
    "qk_norm": {"qk_norm": True},
}.items():
    compare(f"vision {name}", {"vision_cfg": fields})
for name, fields in {
    "layer scale": {"ls_init_value": 0.1},
    "no causal mask": {"no_causal_mask": True},
    "norm last": {"final_ln_after_pool": True},
    "pool_type eos": {"pool_type": "eos", "eos_id": END},
    "pool_type eos, another id": {"pool_type": "eos", "eos_id": 5},
    "eps": {"norm_kwargs": {"eps": 0.1}},
    "gelu tanh": {"act_kwargs": {"approximate": "tanh"}},
    "projection with a bias": {"proj_bias": True},
    "qk_norm": {"qk_norm": True},
}.items():
    compare(f"text {name}", {"text_cfg": fields})
compare("text no causal mask, custom", {"text_cfg": {"no_causal_mask": True}}, custom=True)
for name, fields in {
    "squash": {"resize_mode": "squash"},
    "mean and std": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    "fill_color": {"fill_color": 99},
    "longest": {"resize_mode": "longest"},
    "bilinear": {"interpolation": "bilinear"},
}.items():
    compare(f"preprocess {name}", {"preprocess_cfg": fields})
