"""Makes every other file of this folder, always the same bytes:

    pip install -r requirements.txt && python make_golden.py

`--against DIR` also recomputes the larger reference set (pictures, models and their expected values) that lies in DIR.
"""

import argparse
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import conv2d, layer_norm
from transformers import CLIPModel

HERE = Path(__file__).parent
SIZES = [16, 24]
START, END = "<|startoftext|>", "<|endoftext|>"
PROMPT = "a photo of a {}."
IMAGE_SCALE, TEXT_SCALE = 4, 2
OPENAI_MEAN = [0.48145466, 0.4578275, 0.40821073]
OPENAI_STD = [0.26862954, 0.26130258, 0.27577711]

# [x, y, width, height]
PICTURES = {
    # 101: at both sizes the long side is truncated and the centre crop's offset is a half above an even number
    "landscape": {"size": [101, 64], "boxes": [
        [0, 0, 64, 64], [37, 0, 64, 64], [24, 0, 64, 64], [100, 63, 1, 1], [0, 0, 1, 1], [0, 31, 33, 33], [70, 11, 31, 31],
        [20, 0, 16, 16], [40, 40, 24, 24], [51, 29, 7, 7], [9, 55, 9, 9], [12, 5, 47, 47], [0, 0, 101, 64], [30, 3, 16, 61]]},
    # taller than 2:1: horizontal pass first and vertical pass first differ
    "portrait": {"size": [61, 150], "boxes": [
        [0, 0, 61, 61], [0, 89, 61, 61], [0, 59, 61, 61], [60, 149, 1, 1], [60, 0, 1, 1], [0, 149, 1, 1], [26, 70, 35, 35],
        [0, 101, 49, 49], [3, 0, 55, 55], [19, 33, 2, 2], [45, 120, 16, 16], [7, 60, 25, 25], [0, 0, 61, 150]]},
    "tiny": {"size": [3, 5], "boxes": [[0, 0, 3, 3], [0, 2, 3, 3], [2, 4, 1, 1], [1, 0, 2, 2], [0, 0, 3, 5]]},
}

# Ragged; a description repeated inside a class and one shared by two classes; one longer than two of the three contexts;
# one that holds the end token, after which nothing counts.
CLASSES = {
    "circle": ["a round shape with no corners", "a bright disc on a darker ground", "a round shape with no corners", "a ring"],
    "checkerboard": ["black and white squares that take turns, like the board of a game"],
    "night sky": ["small noisy dots of light", "a dark ground that grows brighter towards one side", "the moon is a bright disc",
                  "a picture without any edges<|endoftext|>but with words after its end", "stars"],
    "striped flag": ["bands of red and blue that run from the left edge of the picture to its right edge, one above the other, "
                     "each of them as wide as the one before it, until the cloth comes to its end", "It's a piece of cloth."],
    "gradient": ["a dark ground that grows brighter towards one side", "colours flow into each other"],
}

TEXTS = [
    "", "a photo of a circle.", "  weird   spacing\t\nhere ", "It's the dog's; I'll we've they'd don't we're I'm",
    "naïve café Ünïcode", "cafe\u0301 in two code points", "日本語 mit Ελληνικά и кириллица, हिन्दी", "emoji 😀🚀 mix", "1234567890 3.14 ½ ²",
    "!!!???... snake_case, kebab-case", "don’t “curly” quotes &amp; html", "ALL CAPS Straße İstanbul ΟΔΟΣ",
    "before<|endoftext|>after", "<|startoftext|> and <|ENDOFTEXT|> in capitals, <|STARTOFTEXT|>",
    "\u00a0no-break\u2003em space\u200bzero width\x00nul", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx " + "hello there " * 40,
]

PROSE = """
A photo of a thing is never the thing. A photo of a cat, a photo of a dog, a photo of a red flag and a photo of the night sky: each
of them is a picture of light that came from some place at some time. The light comes through the glass, the glass bends it, and a
small dark room keeps what it has seen. There is a bright disc in the picture; there are squares, rings, bands, dots and edges. The
edge of a shape is where one colour ends and another begins. A round shape has no corners; a square has four, and a star has more
than one would like to count. It's easy to say what the picture shows, and it's hard to say why. We've looked at it, they've looked at
it, and I'm sure you'll look at it too; they'd say that it doesn't matter, and we're not going to argue with them. In 1842, in 1936 and
in 2024 people wrote down what they saw in 10 or 12 words, with 3.5 mistakes in every 100. Some of the descriptions are short, others
are long; some of them are about the colour, the size or the texture of the ground, and others are about what the thing is for. Then
somebody weighs every word with every part of the picture. The parts that look like the whole count for more, the words that mean
what the name means count for more, and what remains is a number. The greatest number wins, and where two are equal the first one
does. Hello there, said the flag. The moon, the sun and the stars were out; the cloth was striped, the board was black and white, and
the game went on until the end of the evening, when a dark sky without any clouds grew brighter towards the east.
"""

MODELS = {
    # seeds: of the first forty, those that spread the view weights while embeddings stay apart
    "transformers": dict(
        seed=6, dtype=torch.float16, embed=24, size=24, patch=8, context=77, gelu="quick_gelu", mean=OPENAI_MEAN, std=OPENAI_STD,
        vision=dict(width=48, heads=3, mlp=104, layers=2), text=dict(width=32, heads=2, mlp=72, layers=2)),
    "open_clip": dict(
        seed=10, dtype=torch.bfloat16, embed=40, size=16, patch=8, context=40, gelu="gelu", mean=[0.5, 0.45, 0.55], std=[0.5, 0.4, 0.3],
        vision=dict(width=64, heads=4, mlp=192, layers=2), text=dict(width=48, heads=2, mlp=96, layers=2)),
    # no configuration file: heads are width / 64
    "openai": dict(
        seed=37, dtype=torch.float32, embed=32, size=24, patch=8, context=32, gelu="quick_gelu", mean=OPENAI_MEAN, std=OPENAI_STD,
        vision=dict(width=128, heads=2, mlp=64, layers=2), text=dict(width=64, heads=1, mlp=64, layers=2)),
}


def write_json(path, value, indent=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- pictures and views

def draw(name, size):
    """Gradients, a disc, a checkerboard and stripes, under noise."""
    width, height = size
    rng = np.random.default_rng(sum(name.encode()))
    y, x = np.mgrid[:height, :width]
    u, v = x / width, y / height
    image = np.stack([255 * u, 255 * v, 255 * (1 - u * v)], axis=-1)
    image[np.hypot(x - 0.3 * width, y - 0.35 * height) < 0.22 * min(size)] = [250, 240, 30]
    board = (u > 0.55) & (v < 0.45)
    image[board] = 255 * ((x // 3 + y // 3) % 2)[board, None]
    stripes = (v > 0.75) & (y % 5 < 2)
    image[stripes] = [200, 20, 60]
    image += rng.normal(0, 18, image.shape)
    return Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))


def global_view(image, size):
    """CLIP's own preprocessing, as torchvision does it."""
    short, long = sorted(image.size)
    scaled = [int(size * long / short) if side == long else size for side in image.size] if short != long else [size, size]
    image = image.resize(scaled, Image.BICUBIC)
    left, top = (int(round((side - size) / 2.0)) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def views(image, boxes, size):
    crops = [image.crop((x, y, x + w, y + h)).resize((size, size), Image.BICUBIC) for x, y, w, h in boxes]
    return torch.from_numpy(np.stack([np.asarray(view) for view in [global_view(image, size), *crops]]))


def assert_horizontal_first(image, size):
    """Pillow 13 would resize this picture vertically first."""
    width, height = image.size
    scaled = size, int(size * height / width)
    horizontal = image.resize((scaled[0], height), Image.BICUBIC).resize(scaled, Image.BICUBIC)
    vertical = image.resize((width, scaled[1]), Image.BICUBIC).resize(scaled, Image.BICUBIC)
    assert image.resize(scaled, Image.BICUBIC).tobytes() == horizontal.tobytes() != vertical.tobytes()


def make_pictures():
    assert PIL.__version__.startswith("12."), "Pillow 12 is the contract"
    (HERE / "pictures").mkdir(exist_ok=True)
    tensors = {}
    for name, picture in PICTURES.items():
        image = draw(name, picture["size"])
        image.save(HERE / f"pictures/{name}.png", optimize=True)
        for size in SIZES:
            tensors[f"{name}.{size}"] = views(image, picture["boxes"], size)
            if name == "portrait":
                assert_horizontal_first(image, size)
    save_file(tensors, HERE / "views.safetensors")
    return tensors


# ---- tokenizer

def byte_alphabet():
    """The characters that stand for the 256 bytes, in CLIP's order: printable ones for themselves, then the others."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def tokenizer_json(vocab, merges):
    """CLIP's tokenizer.json, but for the vocabulary."""
    def special(token):
        return {"id": vocab[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": token == START, "special": True}

    def part(kind, name, type_id=0):
        return {kind: {"id": name, "type_id": type_id}}

    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(START), special(END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [part("SpecialToken", START), part("Sequence", "A"), part("SpecialToken", END)],
            "pair": [part("Sequence", "A"), part("Sequence", "B", 1)],
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in [END, START]}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": None,
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }


def train_merges(words, count):
    """Byte-pair encoding; here and not `tokenizers`' trainer, whose ties follow the order of a hash map."""
    words = {(*word[:-1], word[-1] + "</w>"): n for word, n in words.items()}
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(list(best))
        words = {merge(word, best): n for word, n in words.items()}
    return merges


def merge(word, pair):
    merged = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def make_tokenizer():
    letters = byte_alphabet()
    base = letters + [letter + "</w>" for letter in letters]

    def build(merges):
        tokens = base + ["".join(pair) for pair in merges] + [START, END]
        assert len(tokens) == len(set(tokens))
        return tokenizer_json({token: i for i, token in enumerate(tokens)}, merges)

    plain = Tokenizer.from_str(json.dumps(build([])))
    words = plain.pre_tokenizer.pre_tokenize_str(plain.normalizer.normalize_str(PROSE))
    value = build(train_merges(Counter(word for word, _ in words), 300))
    for folder in [HERE, *(HERE / "models" / name for name in MODELS)]:
        write_json(folder / "tokenizer.json", value, indent=None)
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    # as for the real one: cut at 77, the end token kept
    rows = [{"text": text, "hf": encode(tokenizer, text, 77)} for text in TEXTS]
    (HERE / "tokens.json").write_text(
        "[\n" + ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n", encoding="utf-8")
    return tokenizer


def encode(tokenizer, text, context):
    ids = tokenizer.encode(text).ids
    return ids if len(ids) <= context else ids[:context - 1] + ids[-1:]


# ---- models

def random_weights(spec, vocab):
    """OpenAI's layout; the scales keep attention sharp and views apart."""
    rng = np.random.default_rng(spec["seed"])

    def normal(*shape, std, mean=0.0):
        return torch.from_numpy(rng.normal(mean, std, shape)).to(spec["dtype"])

    def norm(name, width):
        return {f"{name}.weight": normal(width, std=0.2, mean=1.0), f"{name}.bias": normal(width, std=0.2)}

    def linear(weight, bias, rows, columns):
        return {weight: normal(rows, columns, std=1.3 / math.sqrt(columns)), bias: normal(rows, std=0.1)}

    def blocks(prefix, width, mlp, layers, heads):
        tensors = {}
        for i in range(layers):
            block = f"{prefix}transformer.resblocks.{i}."
            tensors |= norm(block + "ln_1", width) | norm(block + "ln_2", width)
            tensors |= linear(block + "attn.in_proj_weight", block + "attn.in_proj_bias", 3 * width, width)
            tensors |= linear(block + "attn.out_proj.weight", block + "attn.out_proj.bias", width, width)
            tensors |= linear(block + "mlp.c_fc.weight", block + "mlp.c_fc.bias", mlp, width)
            tensors |= linear(block + "mlp.c_proj.weight", block + "mlp.c_proj.bias", width, mlp)
        return tensors

    vision, text, patch, embed = spec["vision"], spec["text"], spec["patch"], spec["embed"]
    return {
        "visual.class_embedding": normal(vision["width"], std=0.1),
        "visual.conv1.weight": normal(vision["width"], 3, patch, patch, std=2 / math.sqrt(3 * patch * patch)),
        "visual.positional_embedding": normal((spec["size"] // patch) ** 2 + 1, vision["width"], std=0.3),
        **norm("visual.ln_pre", vision["width"]), **blocks("visual.", **vision), **norm("visual.ln_post", vision["width"]),
        "visual.proj": normal(vision["width"], embed, std=1.3 / math.sqrt(vision["width"])),
        "token_embedding.weight": normal(vocab, text["width"], std=0.5),
        "positional_embedding": normal(spec["context"], text["width"], std=0.3),
        **blocks("", **text), **norm("ln_final", text["width"]),
        "text_projection": normal(text["width"], embed, std=1.3 / math.sqrt(text["width"])),
        "logit_scale": torch.tensor(math.log(100), dtype=spec["dtype"]),
    }


RENAMED = [
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."), ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.proj", "visual_projection.weight"), ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.", "text_model.final_layer_norm."), ("text_projection", "text_projection.weight"),
    ("transformer.resblocks.", "text_model.encoder.layers."),
]
RENAMED_INSIDE = [(".ln_1.", ".layer_norm1."), (".ln_2.", ".layer_norm2."), (".attn.", ".self_attn."), (".c_fc.", ".fc1."), (".c_proj.", ".fc2.")]


def to_transformers(weights):
    tensors = {}
    for name, tensor in weights.items():
        for ours, theirs in RENAMED:
            if name.startswith(ours):
                name = theirs + name[len(ours):]
                break
        for ours, theirs in RENAMED_INSIDE:
            name = name.replace(ours, theirs)
        if "in_proj_" in name:
            tensors |= {name.replace("in_proj_", f"{p}_proj."): t.clone() for p, t in zip("qkv", tensor.chunk(3))}
        else:
            tensors[name] = tensor.T.contiguous() if name.endswith("_projection.weight") else tensor
    return tensors


def from_transformers(tensors):
    weights = {}
    for name, tensor in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([tensors[name.replace(".q_proj.", f".{p}_proj.")] for p in "qkv"])
            name = name.replace("q_proj.", "in_proj_")
        if name.endswith("_projection.weight"):
            tensor = tensor.T
        for ours, theirs in RENAMED:
            if name.startswith(theirs):
                name = ours + name[len(theirs):]
                break
        for ours, theirs in RENAMED_INSIDE:
            name = name.replace(theirs, ours)
        weights[name] = tensor
    return weights


def transformers_config(spec, vocab):
    def tower(width, heads, mlp, layers):
        return {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": mlp, "num_hidden_layers": layers,
                "hidden_act": spec["gelu"], "projection_dim": spec["embed"], "layer_norm_eps": 1e-5}

    return {
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": spec["embed"], "logit_scale_init_value": 2.6592,
        "vision_config": {**tower(**spec["vision"]), "image_size": spec["size"], "patch_size": spec["patch"], "num_channels": 3},
        "text_config": {**tower(**spec["text"]), "vocab_size": vocab, "max_position_embeddings": spec["context"],
                        "bos_token_id": vocab - 2, "eos_token_id": vocab - 1},
    }


def preprocessor_config(spec):
    return {"crop_size": {"height": spec["size"], "width": spec["size"]}, "size": {"shortest_edge": spec["size"]},
            "do_center_crop": True, "do_resize": True, "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255,
            "resample": 3, "do_convert_rgb": True, "image_mean": spec["mean"], "image_std": spec["std"]}


def open_clip_config(spec, vocab):
    vision, text = spec["vision"], spec["text"]
    return {
        "model_cfg": {
            "embed_dim": spec["embed"],
            "vision_cfg": {"image_size": spec["size"], "layers": vision["layers"], "width": vision["width"], "patch_size": spec["patch"],
                           "head_width": vision["width"] // vision["heads"], "mlp_ratio": vision["mlp"] / vision["width"]},
            "text_cfg": {"context_length": spec["context"], "vocab_size": vocab, "width": text["width"], "heads": text["heads"],
                         "layers": text["layers"], "mlp_ratio": text["mlp"] / text["width"]}},
        "preprocess_cfg": {"mean": spec["mean"], "std": spec["std"], "interpolation": "bicubic", "resize_mode": "shortest"},
    }


def make_model(name, spec, vocab):
    folder = HERE / "models" / name
    weights = random_weights(spec, vocab)
    if name == "transformers":
        write_json(folder / "config.json", transformers_config(spec, vocab))
        write_json(folder / "preprocessor_config.json", preprocessor_config(spec))
        save_file(to_transformers(weights), folder / "model.safetensors", {"format": "pt"})
    elif name == "open_clip":
        write_json(folder / "open_clip_config.json", open_clip_config(spec, vocab))
        save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def load_weights(folder):
    """In OpenAI's layout and float64, which holds every stored value exactly."""
    [path] = [p for p in folder.glob("*.safetensors") if p.name != "expected.safetensors"]
    tensors = load_file(path)
    weights = from_transformers(tensors) if "visual_projection.weight" in tensors else tensors
    return {name: tensor.double() for name, tensor in weights.items()}


# ---- forward pass

GELU = {"gelu": torch.nn.functional.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}


def norm(weights, name, x):
    return layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], 1e-5)


def attention(q, k, v, causal, softmax_dtype):
    """Over heads [n, heads, length, width / heads]."""
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return torch.softmax(logits, dim=-1, dtype=softmax_dtype).to(v.dtype) @ v


def transformer(weights, prefix, x, spec, tower, causal):
    """Sequences [n, length, width] through the residual blocks."""
    for i in range(tower["layers"]):
        block = {name.removeprefix(f"{prefix}transformer.resblocks.{i}."): t for name, t in weights.items()}
        qkv = norm(block, "ln_1", x) @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
        q, k, v = (t.unflatten(-1, (tower["heads"], -1)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
        mixed = attention(q, k, v, causal, spec.get("softmax_dtype", torch.float64)).transpose(1, 2).flatten(2)
        x = x + mixed @ block["attn.out_proj.weight"].T + block["attn.out_proj.bias"]
        hidden = GELU[spec["gelu"]](norm(block, "ln_2", x) @ block["mlp.c_fc.weight"].T + block["mlp.c_fc.bias"])
        x = x + hidden @ block["mlp.c_proj.weight"].T + block["mlp.c_proj.bias"]
    return x


def pixels(views, spec):
    mean, std = (torch.tensor(spec[key], dtype=torch.float64) for key in ["mean", "std"])
    return ((views.double() / 255 - mean) / std).permute(0, 3, 1, 2)


def embed_views(weights, spec, views):
    patches = conv2d(pixels(views, spec), weights["visual.conv1.weight"], stride=spec["patch"]).flatten(2).transpose(1, 2)
    x = torch.cat([weights["visual.class_embedding"].expand(len(views), 1, -1), patches], dim=1)
    x = norm(weights, "visual.ln_pre", x + weights["visual.positional_embedding"])
    x = transformer(weights, "visual.", x, spec, spec["vision"], causal=False)
    return norm(weights, "visual.ln_post", x[:, 0]) @ weights["visual.proj"]


def embed_text(weights, spec, ids):
    """Pools at the first end token, so nothing after it is even computed."""
    ids = torch.tensor(ids)
    ids = ids[: ids.argmax() + 1]
    x = weights["token_embedding.weight"][ids] + weights["positional_embedding"][: len(ids)]
    x = transformer(weights, "", x[None], spec, spec["text"], causal=True)
    return norm(weights, "ln_final", x[0, -1]) @ weights["text_projection"]


def embed(folder, spec, tokenizer, classes, views):
    """(view embeddings by picture, text embeddings), float64, as projected."""
    weights = load_weights(folder)
    texts = [text for name, descriptions in classes.items() for text in [PROMPT.format(name), *descriptions]]
    text_embeds = torch.stack([embed_text(weights, spec, encode(tokenizer, text, spec["context"])) for text in texts])
    return {name: embed_views(weights, spec, tensor) for name, tensor in views.items()}, text_embeds


# ---- scores

def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def scores(image_embeds, text_embeds, classes):
    """The content of expected.json."""
    lengths = [1 + len(descriptions) for descriptions in classes.values()]
    texts = dict(zip(classes, unit(text_embeds).split(lengths)))
    v = {name: torch.softmax(math.exp(TEXT_SCALE) * (g[1:] @ g[0]), 0) for name, g in texts.items()}
    pictures = {}
    for picture, embeds in image_embeds.items():
        f0, f = unit(embeds)[0], unit(embeds)[1:]
        w = torch.softmax(math.exp(IMAGE_SCALE) * (f @ f0), 0)
        by_class = {
            "paper": lambda name, g0, g: w @ (f @ g.T) @ v[name],
            "official": lambda name, g0, g: unit(w @ f) @ unit(v[name] @ g),
            "clip": lambda name, g0, g: f0 @ g0,
            "cupl": lambda name, g0, g: f0 @ unit(g.mean(0)),
        }
        pictures[picture] = {"image_weights": w.tolist()} | {
            kind: {name: score(name, g[0], g[1:]).item() for name, g in texts.items()} for kind, score in by_class.items()}
    return {"pictures": pictures, "text_weights": {name: weights.tolist() for name, weights in v.items()}}


def make_expected(folder, spec, tokenizer, all_views):
    views = {name: all_views[f"{name}.{spec['size']}"] for name in PICTURES}
    image_embeds, text_embeds = embed(folder, spec, tokenizer, CLASSES, views)
    assert_lively(image_embeds, text_embeds)
    tensors = {f"image_embeds.{name}": tensor for name, tensor in image_embeds.items()} | {"text_embeds": text_embeds}
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    write_json(folder / "expected.json", scores(image_embeds, text_embeds, CLASSES))
    return views, image_embeds, text_embeds


def assert_lively(image_embeds, text_embeds):
    """Embeddings that hardly depend on their input would hide mistakes."""
    for x in [*image_embeds.values(), text_embeds.unique(dim=0)]:
        cosines = unit(x) @ unit(x).T
        assert cosines.mean() < 0.9, cosines


# ---- checks

def difference(a, b):
    """The largest difference between two values of equal structure."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), (a.keys(), b.keys())
        return max(difference(a[key], b[key]) for key in a)
    return (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)).abs().max().item()


def check_transformers(folder, spec, tokenizer, views, image_embeds, text_embeds):
    """The same folder through transformers."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa").eval()  # "eager" takes its softmax in f32
    texts = [text for name, descriptions in CLASSES.items() for text in [PROMPT.format(name), *descriptions]]
    ids = [torch.tensor([encode(tokenizer, text, spec["context"])]) for text in texts]
    with torch.no_grad():
        theirs = torch.cat([model.get_text_features(row).pooler_output for row in ids])
        worst = difference(text_embeds, theirs)
        for name, tensor in views.items():
            theirs = model.get_image_features(pixels(tensor, spec)).pooler_output
            worst = max(worst, difference(image_embeds[name], theirs))
    print(f"transformers' own forward pass: {worst:.1e} apart")
    assert worst < 1e-12


def read_spec(folder):
    """The spec of a model folder in transformers' or open_clip's layout."""
    def tower(c):
        return {"heads": c["num_attention_heads"], "layers": c["num_hidden_layers"]}

    def open_tower(c):
        return {"heads": c["heads"] if "heads" in c else c["width"] // c["head_width"], "layers": c["layers"]}

    if (folder / "config.json").exists():
        config = json.loads((folder / "config.json").read_text())
        processor = json.loads((folder / "preprocessor_config.json").read_text())
        vision, text = config["vision_config"], config["text_config"]
        return dict(size=vision["image_size"], patch=vision["patch_size"], context=text["max_position_embeddings"], gelu=vision["hidden_act"],
                    mean=processor["image_mean"], std=processor["image_std"], vision=tower(vision), text=tower(text))
    config = json.loads((folder / "open_clip_config.json").read_text())
    model, processor = config["model_cfg"], config["preprocess_cfg"]
    vision, text = model["vision_cfg"], model["text_cfg"]
    return dict(size=vision["image_size"], patch=vision["patch_size"], context=text["context_length"],
                gelu="quick_gelu" if model.get("quick_gelu") else "gelu",
                mean=processor["mean"], std=processor["std"], vision=open_tower(vision), text=open_tower(text))


def check_against(reference):
    """Views, embeddings and scores of another set of this structure: this script's definitions are that set's."""
    index = json.loads((reference / "reference.json").read_text())
    images = {name: Image.open(reference / f"pictures/{name}.png").convert("RGB") for name in index["pictures"]}
    for key, tensor in load_file(reference / "views.safetensors").items():
        name, size = key.rsplit(".", 1)
        assert views(images[name], index["pictures"][name]["boxes"], int(size)).equal(tensor), key
    tokenizer = Tokenizer.from_file(str(reference / "tokenizer.json"))
    for row in json.loads((reference / "tokens.json").read_text()):
        assert encode(tokenizer, row["text"], 77) == row["hf"], row["text"]
    for folder in sorted((reference / "models").iterdir()):
        # the other set was made with transformers' eager attention, whose softmax is f32 even in a float64 model
        spec = read_spec(folder) | {"softmax_dtype": torch.float32}
        seen = {name: views(image, index["pictures"][name]["boxes"], spec["size"]) for name, image in images.items()}
        image_embeds, text_embeds = embed(folder, spec, tokenizer, index["classes"], seen)
        stored = load_file(folder / "expected.safetensors")
        ours = {f"image_embeds.{name}": tensor for name, tensor in image_embeds.items()} | {"text_embeds": text_embeds}
        apart = difference(ours, stored), difference(scores(image_embeds, text_embeds, index["classes"]),
                                                     json.loads((folder / "expected.json").read_text()))
        print(f"{folder.name}: embeddings {apart[0]:.1e} apart (stored as f32), scores {apart[1]:.1e}")
        assert apart[0] < 1e-6 and apart[1] < 1e-13


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="DIR")
    against = parser.parse_args().against
    torch.set_num_threads(1)  # one order of summation

    write_json(HERE / "golden.json", {"pictures": PICTURES, "classes": CLASSES})
    all_views = make_pictures()
    tokenizer = make_tokenizer()
    for name, spec in MODELS.items():
        folder = make_model(name, spec, tokenizer.get_vocab_size())
        expected = make_expected(folder, spec, tokenizer, all_views)
        if name == "transformers":
            check_transformers(folder, spec, tokenizer, *expected)
    if against:
        check_against(against)


if __name__ == "__main__":
    main()
