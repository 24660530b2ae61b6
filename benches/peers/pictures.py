"""Pictures a second from a file to its embedding, on this CPU in f32: this package beside what its users would write with transformers and
Pillow, open_clip, and fastembed. Each in a process of its own, one round after the other in turns.

usage: pictures.py MADE [ROUNDS]   MADE: of make.py; open_clip has random weights of its own
"""

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

BATCH = 16


def encode_images(made):
    import crossalign as xa

    model = xa.Model(made / "model", device="cpu", precision="f32")
    return model.encode_images


def stream(made):
    """Scores of the whole picture, which are made of its embedding."""
    import crossalign as xa

    model = xa.Model(made / "model", device="cpu", precision="f32")
    classifier = model.compile({"cat": ["whiskers", "pointed ears"], "dog": ["a wet nose"]}, method="cupl")
    return lambda paths: np.stack([result.scores for result in classifier.stream(paths)])


def transformers(made):
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel

    torch.set_grad_enabled(False)
    model = CLIPModel.from_pretrained(made / "model", dtype=torch.float32).eval()
    processor = CLIPImageProcessor.from_pretrained(made / "model")

    def run(paths):
        rows = []
        for first in range(0, len(paths), BATCH):
            pictures = [Image.open(path).convert("RGB") for path in paths[first : first + BATCH]]
            features = model.get_image_features(**processor(images=pictures, return_tensors="pt"))
            rows.append(getattr(features, "pooler_output", features))
        return torch.nn.functional.normalize(torch.cat(rows), dim=-1).numpy()

    return run


def open_clip(made, workers=0):
    """With workers, other processes decode while this one computes."""
    import open_clip
    import torch
    from PIL import Image

    torch.set_grad_enabled(False)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None, precision="fp32")
    model.eval()

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, paths):
            self.paths = paths

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, number):
            return preprocess(Image.open(self.paths[number]))

    def run(paths):
        loader = torch.utils.data.DataLoader(Pictures(paths), batch_size=BATCH, num_workers=workers)
        return torch.cat([model.encode_image(pixels, normalize=True) for pixels in loader]).numpy()

    return run


def fastembed(made):
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(made / "onnx"), threads=os.cpu_count())
    return lambda paths: np.stack(list(model.embed(paths, batch_size=BATCH)))


ENGINES = {
    "encode_images": ("crossalign", encode_images),
    "stream": ("crossalign", stream),
    "transformers + PIL": ("transformers", transformers),
    "open_clip": ("open_clip_torch", open_clip),
    "open_clip, a second process decodes": ("open_clip_torch", lambda made: open_clip(made, workers=1)),
    "fastembed": ("fastembed", fastembed),
}


def serve(name, made):
    """One engine: for each line on standard input all pictures, and on standard output the seconds."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print
    paths = sorted(map(str, (made / "pictures").iterdir()))
    run = ENGINES[name][1](made)
    np.save(made / f"{name}.npy", run(paths))
    print("ready", file=answers)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run(paths)
        print(time.perf_counter() - begin, file=answers)


def main(made, rounds="7"):
    count = len(list((made / "pictures").iterdir()))
    served = {}
    for name in ENGINES:
        command = [sys.executable, __file__, "--serve", name, str(made)]
        served[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert served[name].stdout.readline() == "ready\n", name

    def seconds(name):
        print("go", file=served[name].stdin)
        return float(served[name].stdout.readline())

    table = [{name: seconds(name) for name in ENGINES} for _ in range(int(rounds))]
    for process in served.values():
        process.stdin.close()
        process.wait()
    expected = np.load(made / "transformers + PIL.npy")
    print(f"{count} pictures, {rounds} rounds")
    print("| ViT-B/32, f32 | pictures/s | encode_images is faster | stream is faster | least cosine to transformers |")
    print("| --- | --- | --- | --- | --- |")
    for name, (package, _) in ENGINES.items():
        rate = count / statistics.median(row[name] for row in table)
        times = [statistics.median(row[name] / row[ours] for row in table) for ours in ("encode_images", "stream")]
        embeddings = np.load(made / f"{name}.npy")
        comparable = embeddings.shape == expected.shape and not name.startswith("open_clip")
        cosine = f"{(embeddings * expected).sum(1).min():.5f}" if comparable else ""
        print(f"| {name} ({package} {version(package)}) | {rate:.1f} | {times[0]:.2f} | {times[1]:.2f} | {cosine} |")
    print(json.dumps(table))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), *sys.argv[2:])
