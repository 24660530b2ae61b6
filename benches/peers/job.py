"""Seconds a picture, from file to the scores of all classes: `crossalign classify` beside the authors' way (Pillow,
torchvision, PyTorch in f32). Ours is the time of a folder of pictures less that of one, so without loading the model.

usage: job.py EXE MODEL CLASSIFIER PICTURE [PICTURES]   CLASSIFIER: of `crossalign compile` with MODEL
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from PIL import Image
from torchvision import transforms
from transformers import CLIPVisionModelWithProjection

THREADS = 2
VIEWS = 60
CLASSES, DESCRIPTIONS = 1000, 5800


def ours(exe, model, classifier, picture, count, precision):
    """Seconds for each of `count` further pictures."""

    def run(pictures):
        with tempfile.TemporaryDirectory() as folder:
            for i in range(pictures):
                shutil.copy(picture, os.path.join(folder, f"{i}{os.path.splitext(picture)[1]}"))
            command = [exe, "classify", folder, "--model", model, "--classifier", classifier]
            command += ["--device", "cpu", "--threads", str(THREADS), "--precision", precision, "--views", str(VIEWS)]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - start

    return (run(1 + count) - run(1)) / count


def authors(model, picture, count):
    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    tower = CLIPVisionModelWithProjection.from_pretrained(model).eval()
    unit = lambda x: torch.nn.functional.normalize(x, dim=-1)
    texts = unit(torch.randn(DESCRIPTIONS, tower.config.projection_dim))
    label = torch.arange(DESCRIPTIONS) % CLASSES
    weights = torch.full((DESCRIPTIONS,), CLASSES / DESCRIPTIONS)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    resize = transforms.Resize((224, 224), interpolation=transforms.InterpolationMode.BICUBIC)
    prepare = transforms.Compose([resize, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def one():
        image = Image.open(picture).convert("RGB")
        crops = [image]
        for _ in range(VIEWS):
            side = int(random.uniform(0.5, 0.9) * min(image.size))
            left, top = random.randint(0, image.width - side), random.randint(0, image.height - side)
            crops.append(image.crop((left, top, left + side, top + side)))
        embeddings = unit(tower(torch.stack([prepare(crop) for crop in crops])).image_embeds)
        importance = torch.softmax(embeddings[1:] @ embeddings[0], 0)
        similarity = importance @ (embeddings[1:] @ texts.T)
        return torch.zeros(CLASSES).index_add_(0, label, similarity * weights)

    one()
    runs = []
    for _ in range(max(3, count)):
        start = time.perf_counter()
        one()
        runs.append(time.perf_counter() - start)
    return sorted(runs)[len(runs) // 2]


def main():
    exe, model, classifier, picture = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 4
    rows = [(f"crossalign {p}", ours(exe, model, classifier, picture, count, p)) for p in ("f32", "bf16", "int8")]
    peer = authors(model, picture, count)
    print("| whole job | s a picture | faster than the authors' way |\n| --- | --- | --- |")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} | {peer / seconds:.2f} |")
    print(f"| Pillow, torchvision, PyTorch f32 | {peer:.2f} | |")


if __name__ == "__main__":
    main()
