"""Trains mini by contrast: pictures composed on the fly against captions made up for them.

    python train.py --cache ~/.cache/crossalign-mini --minutes 75

Stopped and started again it goes on from its last checkpoint.
"""

import argparse
import json
import math
import os
import pathlib
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

import sprites
import teacher
from captions import Captions, colours, encode, train_tokenizer
from export import export
from fetch import fetch
from model import CLIP, CONFIG
from scenes import compose, pyramid


# Tokens of a caption at most: few are longer.
CAPTION = 18


class Batches:
    """Pictures, two captions of each (a free one, then a plain name) and which pairs off the diagonal also match."""

    def __init__(self, data, seed):
        meta = json.loads((data / "sprites.json").read_text())
        cut_outs = np.load(data / "sprites.npy")
        self.levels = pyramid(torch.from_numpy(cut_outs))
        self.captions = Captions(meta, colours(cut_outs))
        self.keys = [s["key"] for s in meta["sprites"]]
        share, weights = {}, []
        for s in meta["sprites"]:
            share[s.get("concept")] = share.get(s.get("concept"), 0) + s["weight"]
        for s in meta["sprites"]:
            concept = s.get("concept")
            weights.append(s["weight"] * (meta["concepts"][concept]["weight"] / share[concept] if concept else 1))
        self.weights = torch.tensor(weights)
        self.plain = torch.tensor([min(w, 0.3) for w in weights])
        self.g, self.rng = torch.Generator().manual_seed(seed), random.Random(seed)

    def corpus(self, n=60_000):
        picks = torch.multinomial(self.weights, n, True, generator=self.g).tolist()
        words = [w for i in range(len(self.keys)) for w in self.captions.names(i)]
        return words + [self.captions.caption(i, "small", self.rng) for i in picks]

    def batch(self, n, tokenizer, crowd=0.45):
        draw = lambda weights, k: torch.multinomial(weights, k, True, generator=self.g)
        pictures, placing, inside = compose(
            draw(self.weights, n), lambda k: draw(self.plain, k), self.levels, crowd, self.g)
        texts, plain = [], [self.captions.plain(row[0], self.rng) for row in inside]
        for row, where in zip(inside, placing):
            other = row[1] if where == "small" and len(row) > 1 else None
            texts.append(self.captions.caption(row[0], where, self.rng, other))
        # A text is no negative for a picture that shows its concept too.
        names = {k: i for i, k in enumerate({self.keys[s] for row in inside for s in row})}
        shows = torch.zeros(n, len(names), dtype=torch.bool)
        for r, row in enumerate(inside):
            shows[r, [names[self.keys[s]] for s in row]] = True
        target = torch.tensor([names[self.keys[row[0]]] for row in inside])
        same = shows[:, target]
        same.fill_diagonal_(False)
        return pictures, torch.from_numpy(encode(tokenizer, texts + plain, CAPTION)), same


def some_patches(n, patches, share, g):
    """The class token's place and a random share of the patches'."""
    order = torch.rand(n, patches, generator=g).argsort(1)[:, :int(patches * share)]
    return torch.cat([torch.zeros(n, 1, dtype=torch.long), order + 1], 1)


def loss_of(model, see, pictures, captions, same, keep):
    """CLIP's loss, the mean over both captions."""
    target, total = torch.arange(len(pictures)), 0
    with torch.autocast("cpu", torch.bfloat16):
        images = see((pictures - 0.5) / 0.5, keep)
        texts = model.text(captions)
    for text in texts.chunk(2):
        logits = (images.float() @ text.float().T) * model.logit_scale.exp()
        logits = logits.masked_fill(same, float("-inf"))
        total = total + (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return total / 2


def lesson_of(model, head, ids, taught):
    """How far texts are from where the teacher puts them, seen through a linear map."""
    with torch.autocast("cpu", torch.bfloat16):
        texts = model.text(ids)
    return 1 - F.cosine_similarity(head(texts.float()), taught).mean()


def optimizers(model, head, rate):
    """Muon for the matrices inside the layers, AdamW for all else; one rate suits both when Muon matches its RMS."""
    inside = [p for n, p in model.named_parameters() if ".layers." in n and p.dim() == 2]
    others = [p for n, p in model.named_parameters() if not (".layers." in n and p.dim() == 2)]
    adam = [{"params": [p for p in others if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in others if p.dim() <= 1] + [head.weight], "weight_decay": 0}]
    return [torch.optim.Muon(inside, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adam, lr=rate, betas=(0.9, 0.98))]


def save(path, **state):
    torch.save(state, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("~/.cache/crossalign-mini"))
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[1])
    p.add_argument("--minutes", type=float, default=105)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--rate", type=float, default=1.4e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--smoke", action="store_true", help="a minute on few pictures; fails unless the loss falls")
    a = p.parse_args()
    cache = a.cache.expanduser() / ("smoke" if a.smoke else ".")
    if a.smoke:
        a.batch, a.out = 48, cache
    torch.manual_seed(a.seed)

    fetch(cache / "raw", a.smoke)
    sprites.build(cache / "raw", cache / "data", a.smoke)
    batches = Batches(cache / "data", a.seed)
    words, captions = cache / "tokenizer.json", batches.corpus()
    entries = [] if a.smoke else random.Random(a.seed).sample(teacher.dictionary(cache / "raw"), 50_000)
    if words.exists():
        tokenizer = Tokenizer.from_file(str(words))
    else:
        tokenizer = train_tokenizer(captions + entries[:10_000], CONFIG["vocab_size"], words)
    lessons = None
    if not a.smoke:
        teacher.build(list(dict.fromkeys(captions + entries)), cache / "data")
        lessons = teacher.Lessons(cache / "data", tokenizer)
    config = {**CONFIG, "vocab_size": tokenizer.get_vocab_size()}

    model, head = CLIP(config), torch.nn.Linear(CONFIG["projection_dim"], 384, bias=False)
    optimize = optimizers(model, head, a.rate)
    step, spent, losses = 0, 0.0, []
    checkpoint = cache / "checkpoint.pt"
    if checkpoint.exists() and not a.smoke:
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        head.load_state_dict(state["head"])
        for o, kept in zip(optimize, state["optimizers"]):
            o.load_state_dict(kept)
        step, spent = state["step"], state["spent"]
        batches.g.manual_seed(a.seed + step)
        batches.rng.seed(a.seed + step)
    see = model.image if a.smoke else torch.compile(model.image, dynamic=False)

    def keep_state():
        save(checkpoint, model=model.state_dict(), head=head.state_dict(),
             optimizers=[o.state_dict() for o in optimize], step=step, spent=spent)

    saved = spent
    # The clock sets the rate, so that it has decayed when the time is up.
    while (done := step / 150 if a.smoke else spent / (a.minutes * 60)) < 1:
        begun = time.monotonic()
        rate = a.rate * min(1, (step + 1) / (10 if a.smoke else 150)) * (0.5 + 0.5 * math.cos(math.pi * done))
        for group in (g for o in optimize for g in o.param_groups):
            group["lr"] = rate
        # Large single objects first: from small ones alone learning takes long to start.
        crowd = 0 if a.smoke else 0.25 * min(1, 2 * done)
        # Half of the patches is enough until near the end, and nearly twice as fast (as in FLIP).
        keep = some_patches(a.batch, 64, 0.5, batches.g) if done < 0.78 else None
        loss = loss_of(model, see, *batches.batch(a.batch, tokenizer, crowd), keep)
        losses.append(loss.item())
        if lessons:
            loss = loss + 2 * lesson_of(model, head, *lessons.draw(a.batch // 2, batches.g))
        model.zero_grad()
        head.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in optimize:
            o.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        step, spent = step + 1, spent + time.monotonic() - begun
        if step % 50 == 0:
            print(f"step {step} minutes {spent / 60:.1f} loss {np.mean(losses[-50:]):.3f} "
                  f"scale {model.logit_scale.exp().item():.1f} images/s {a.batch * step / spent:.0f}", flush=True)
        if spent - saved > 120:
            saved = spent
            keep_state()
    keep_state()
    export(model, words, a.out)
    if a.smoke:
        first, last = np.mean(losses[:10]), np.mean(losses[-10:])
        print(f"loss {first:.3f} -> {last:.3f} in {step} steps")
        assert last < first - 0.2, "the loss did not fall"


if __name__ == "__main__":
    main()
