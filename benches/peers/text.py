"""Descriptions a second through ViT-B/32's text tower: `crossalign compile` beside PyTorch and OpenVINO, which pad every
text to 77 tokens. Ours is timed from start to file, with loading the model and telling texts apart.

usage: text.py EXE MODEL PROMPTS [SECONDS]   MODEL: a folder in the Hugging Face layout, with its tokenizer.json
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import torch
from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerFast

THREADS = 2
TEXTS = 128


def rate(encode, texts, seconds):
    """Texts a second, the median of some runs."""
    encode()
    runs = []
    while sum(runs) < seconds or len(runs) < 3:
        start = time.perf_counter()
        encode()
        runs.append(time.perf_counter() - start)
    return texts / sorted(runs)[len(runs) // 2]


def main():
    exe, model, prompts = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 5
    classes = json.load(open(prompts))
    texts = [text for descriptions in classes.values() for text in descriptions]
    rows = []

    def ours(precision):
        with tempfile.TemporaryDirectory() as folder:
            command = [exe, "compile", "--model", model, "--prompts", prompts, "--output", f"{folder}/classifier"]
            command += ["--device", "cpu", "--threads", str(THREADS), "--precision", precision]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return len(texts) / (time.perf_counter() - start)

    for precision in ("f32", "bf16", "int8"):
        rows.append((f"crossalign {precision}", ours(precision)))

    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(model, "tokenizer.json"))
    tokenizer.pad_token = "<|endoftext|>"
    some = texts[:: len(texts) // TEXTS][:TEXTS]
    ids = tokenizer(some, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    tower = CLIPTextModelWithProjection.from_pretrained(model).eval()
    expected = tower(input_ids=ids).text_embeds
    rows.append(("PyTorch f32", rate(lambda: tower(input_ids=ids), TEXTS, seconds)))
    compiled = torch.compile(tower)
    rows.append(("PyTorch f32, compiled", rate(lambda: compiled(input_ids=ids), TEXTS, seconds)))
    rows.append(("OpenVINO f32", openvino_rate(tower, ids, expected, seconds)))
    best = max(rate for name, rate in rows if "crossalign" not in name)
    print("| text tower | descriptions/s | to the fastest peer |\n| --- | --- | --- |")
    for name, rate_of in rows:
        ratio = f"{rate_of / best:.2f}" if "crossalign" in name else ""
        print(f"| {name} | {rate_of:.1f} | {ratio} |")


def openvino_rate(tower, ids, expected, seconds):
    import openvino

    class Embeds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = tower

        def forward(self, input_ids):
            return self.tower(input_ids=input_ids).text_embeds

    exported = torch.export.export(Embeds(), (ids,), strict=False)
    converted = openvino.convert_model(exported)
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    model = openvino.Core().compile_model(converted, "CPU", config)
    found = torch.from_numpy(model(ids.numpy())[0])
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.9999
    return rate(lambda: model(ids.numpy()), TEXTS, seconds)


if __name__ == "__main__":
    main()
