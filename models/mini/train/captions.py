"""What is said about a picture: names, keywords, colours and visible parts, and the tokenizer for it."""

import json
import pathlib
import random

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
START, END = "<|startoftext|>", "<|endoftext|>"

NAMED = ["a photo of a {}.", "a photo of a {}.", "a photo of a {}.", "a picture of a {}.", "an image of a {}.",
         "a drawing of a {}.", "a photo of the {}.", "a cartoon {}.", "a {}", "{}", "the {}", "an icon of a {}",
         "this is a {}.", "there is a {} in the picture."]
SMALL = ["a small {}", "a photo of a small {}.", "a {} among other things", "a {} far away", "a {} in a scene",
         "a {} in the background", "a picture with a {} in it."]
CLOSE = ["a close-up of a {}", "a big {}", "a cropped photo of a {}.", "part of a {}", "a detail of a {}"]
KINDS = {"mammal": "animal", "bird": "bird", "reptile": "reptile", "amphibian": "animal", "marine": "sea animal",
         "bug": "insect", "flower": "flower", "other": "plant", "fruit": "fruit", "vegetable": "vegetable",
         "prepared": "food", "asian": "food", "sweet": "sweet food", "drink": "drink", "ground": "vehicle",
         "water": "boat", "air": "flying machine", "building": "building", "sport": "sports thing",
         "clothing": "piece of clothing", "musical-instrument": "instrument", "tool": "tool",
         "computer": "electronic device", "light-video": "device", "phone": "device"}
COLOURS = {"black": (20, 20, 20), "white": (245, 245, 245), "grey": (140, 145, 150), "red": (215, 40, 45),
           "orange": (245, 140, 30), "yellow": (252, 210, 55), "green": (75, 160, 60), "blue": (50, 120, 210),
           "light blue": (140, 205, 245), "purple": (135, 75, 175), "pink": (245, 140, 170),
           "brown": (135, 80, 45), "golden": (225, 170, 60), "tan": (215, 175, 130), "dark red": (130, 25, 40),
           "dark blue": (30, 50, 110), "dark green": (30, 90, 50)}


def colours(sprites):
    """The one to three colour names that cover most of each cut-out, largest first."""
    palette = np.array(list(COLOURS.values()), np.float32)
    names = list(COLOURS)
    small = sprites[:, 4::8, 4::8].astype(np.float32)
    out = []
    for s in small.reshape(len(small), -1, 4):
        s = s[s[:, 3] > 128]
        rgb = s[:, :3] * (255 / s[:, 3:])
        counts = np.bincount(((rgb[:, None] - palette) ** 2).sum(-1).argmin(1), minlength=len(names))
        order = counts.argsort()[::-1][:3]
        out.append([names[i] for i in order if counts[i] > 0.12 * max(1, len(s))])
    return out


class Captions:
    def __init__(self, meta, colour_names):
        described = json.loads((HERE / "descriptions.json").read_text())
        self.concepts, self.sprites, self.colours = meta["concepts"], meta["sprites"], colour_names
        self.descriptions = {k.lower(): v for k, v in described.items()}

    def names(self, i):
        s = self.sprites[i]
        return self.concepts[s["concept"]]["names"] if "concept" in s else [s["text"]]

    def name(self, i, rng):
        names = self.names(i)
        return names[0] if len(names) == 1 or rng.random() < 0.75 else rng.choice(names[1:])

    def described(self, i, name, rng):
        s = self.sprites[i]
        phrases = self.descriptions.get(s["key"], [])
        if not phrases:
            return None
        p = rng.choice(phrases)
        return rng.choice([p, p, p, f"{name}: {p}", f"a {name}, {p}", f"a {name} with {p}",
                           f"a photo of a {name}, {p}.", f"a thing with {p}"])

    def coloured(self, i, name, rng):
        s, c = self.sprites[i], self.colours[i]
        if not c:
            return None
        both = f"{c[0]} and {c[1]}" if len(c) > 1 else c[0]
        kind = KINDS.get(self.concepts[s["concept"]]["kind"], "thing") if "concept" in s else "thing"
        return rng.choice([f"a {c[0]} {name}", f"a {both} {name}", f"a photo of a {c[0]} {name}.",
                           f"a {name} in {both}", f"a {both} {kind}: a {name}", f"a {both} {kind}"])

    def tagged(self, i, name, rng):
        s = self.sprites[i]
        tags = self.concepts[s["concept"]]["tags"] if "concept" in s else s["tags"]
        if len(tags) < 2:
            return None
        t = rng.sample(tags, min(len(tags), rng.choice([2, 3])))
        return rng.choice([f"{name}, " + ", ".join(t), " ".join(t), f"a {name}, {t[0]}", f"a picture of {t[0]} and {t[1]}",
                           f"{t[0]} {name}"])

    def plain(self, i, rng):
        return rng.choice(NAMED).format(self.names(i)[0])

    def caption(self, i, placing, rng, other=None):
        """`placing` is small, close or plain; `other` is a second sprite worth naming."""
        name, r = self.name(i, rng), rng.random()
        if other is not None and r < 0.2:
            pair = [name, self.name(other, rng)]
            rng.shuffle(pair)
            return rng.choice(["a {} and a {}", "a photo of a {} and a {}.", "a {} next to a {}", "{}, {}"]).format(*pair)
        maker = None if r < 0.5 else self.described if r < 0.75 else self.coloured if r < 0.9 else self.tagged
        text = maker and maker(i, name, rng)
        if text:
            return text
        extra = {"small": SMALL, "close": CLOSE}.get(placing)
        return rng.choice(extra if extra and rng.random() < 0.3 else NAMED).format(name)


def train_tokenizer(captions, size, path):
    """CLIP's byte-level BPE: lower case, `</w>` ends a word, the end token has the largest id."""
    normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = normalizer, splitter
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(captions, trainers.BpeTrainer(
        vocab_size=size - 2, initial_alphabet=bytes_, end_of_word_suffix="</w>", show_progress=False))
    # Every byte, alone and ending a word, is in the vocabulary: no text is unknown.
    vocab = bytes_ + [b + "</w>" for b in bytes_]
    seen, merges = set(vocab), []
    for a, b in json.loads(learner.to_str())["model"]["merges"]:
        if len(vocab) < size - 2 and a + b not in seen:
            vocab.append(a + b)
            seen.add(a + b)
            merges.append((a, b))
    vocab += [START, END]
    ids = {t: n for n, t in enumerate(vocab)}
    tokenizer = Tokenizer(models.BPE(ids, merges, end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=END))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])])
    tokenizer.save(str(path))
    return tokenizer


def encode(tokenizer, texts, context=32):
    """Padded with the end token, to the longest text of the batch."""
    end = tokenizer.token_to_id(END)
    rows = [e.ids if len(e.ids) <= context else e.ids[:context - 1] + [end] for e in tokenizer.encode_batch(texts)]
    out = np.full((len(rows), max(map(len, rows))), end, np.int64)
    for n, row in enumerate(rows):
        out[n, :len(row)] = row
    return out
