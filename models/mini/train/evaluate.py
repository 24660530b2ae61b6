"""Accuracy on a folder of test pictures: the label, the mean of the descriptions, and WCA.

    python evaluate.py TESTSET [--model DIR] [--clip-only]
"""

import argparse
import json
import math
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional as F

from captions import encode
from model import CLIP

SIDE = 64


def load(folder):
    c = json.loads((folder / "config.json").read_text())
    text, vision = c["text_config"], c["vision_config"]
    model = CLIP({"image_size": SIDE, "patch_size": vision["patch_size"], "projection_dim": c["projection_dim"],
                  "vision": vision, "text": text, "vocab_size": text["vocab_size"],
                  "context": text["max_position_embeddings"]})
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def whole(image):
    """The shorter side to 64, then the centre."""
    scale = SIDE / min(image.size)
    w, h = (max(SIDE, int(s * scale)) for s in image.size)
    image = image.resize((w, h), Image.Resampling.BICUBIC)
    x, y = (w - SIDE) // 2, (h - SIDE) // 2
    return image.crop((x, y, x + SIDE, y + SIDE))


def views(image, rng, n=60, low=0.5, high=0.9):
    for _ in range(n):
        side = int(rng.uniform(low, high) * min(image.size))
        x, y = rng.integers(0, image.width - side + 1), rng.integers(0, image.height - side + 1)
        yield image.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


@torch.inference_mode()
def see(model, images):
    x = torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2) / 127.5 - 1
    return torch.cat([model.image(part) for part in x.split(480)])


@torch.inference_mode()
def read(model, tokenizer, texts):
    return model.text(torch.from_numpy(encode(tokenizer, texts)))


def top(scores, labels, k):
    return 100 * (scores.topk(k, 1).indices == labels[:, None]).any(1).float().mean().item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("testset", type=pathlib.Path)
    p.add_argument("--model", type=pathlib.Path, default=pathlib.Path(__file__).parents[1])
    p.add_argument("--clip-only", action="store_true")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--json", type=pathlib.Path, help="also writes the figures here")
    a = p.parse_args()
    model, tokenizer = load(a.model)
    prompts = json.loads((pathlib.Path(__file__).parents[1] / "prompts.json").read_text())
    names = list(prompts)
    label = read(model, tokenizer, [f"a photo of a {n}." for n in names])
    parts = [read(model, tokenizer, prompts[n]) for n in names]
    mean = F.normalize(torch.stack([g.mean(0) for g in parts]), dim=-1)
    weigh = lambda g, g0: F.normalize((torch.softmax(math.e**2 * (g @ g0), 0)[:, None] * g).sum(0), dim=-1)
    crossed = torch.stack([weigh(g, g0) for g, g0 in zip(parts, label)])
    report = {}
    for kind in sorted(d.name for d in a.testset.iterdir() if d.is_dir()):
        files = sorted((a.testset / kind).glob("*/*.png"))
        images = [Image.open(f).convert("RGB") for f in files]
        labels = torch.tensor([names.index(f.parent.name) for f in files])
        f0 = see(model, [whole(i) for i in images])
        both = lambda scores: [round(top(scores, labels, k), 1) for k in (1, 5)]
        report[kind] = {"pictures": len(files), "clip": both(f0 @ label.T), "cupl": both(f0 @ mean.T)}
        if not a.clip_only:
            runs = []
            for seed in range(a.seeds):
                rng = np.random.default_rng(seed)
                fused = []
                for image, f in zip(images, f0):
                    v = see(model, list(views(image, rng)))
                    fused.append((torch.softmax(math.e**4 * (v @ f), 0)[:, None] * v).sum(0))
                fused = F.normalize(torch.stack(fused), dim=-1)
                runs.append([top(fused @ t.T, labels, k) for t in (crossed, label) for k in (1, 5)])
            runs = np.array(runs)
            for n, key in ((0, "wca"), (2, "wca, label only")):
                report[kind][key] = [round(x, 1) for x in runs[:, n:n + 2].mean(0).tolist()]
                report[kind][key + " spread"] = [round(x, 2) for x in runs[:, n:n + 2].std(0, ddof=1).tolist()] if a.seeds > 1 else None
        print(kind, report[kind], flush=True)
    if a.json:
        a.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
