"""Pictures a second from Python beside the Rust stream, which is the program's `classify`: both of the installed wheel, in turns.

usage: python.py FOLDER [MODEL] [VIEWS]   FOLDER: of pictures; VIEWS: 0 for the method cupl, which takes the whole picture alone
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crossalign as xa

PROMPTS = {"cat": ["whiskers", "pointed ears"], "rocket": ["flames", "a white cylinder"], "teapot": ["a spout"]}
ROUNDS = 7


def program(folder, model, classifier, views):
    """Seconds of the program for a folder."""
    command = [sys.executable, "-m", "crossalign", "classify", folder, "--model", model, "--classifier", classifier]
    begin = time.perf_counter()
    subprocess.run(map(str, [*command, "--views", max(views, 1), "--device", "cpu", "--format", "json"]), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main(folder, model="mini", views="60"):
    views = int(views)
    paths = sorted(map(str, Path(folder).iterdir()))
    with tempfile.TemporaryDirectory() as work:
        one = Path(work, "one")
        one.mkdir()
        Path(one, Path(paths[0]).name).symlink_to(Path(paths[0]).resolve())
        compiled = xa.Model(model, device="cpu").compile(PROMPTS, method="wca" if views else "cupl")
        compiled.save(Path(work, "c.safetensors"))
        classifier = compiled.with_views(max(views, 1))
        classifier.scores(paths[:1])
        rust, python, rows = [], [], []
        for _ in range(ROUNDS):
            # Without starting it and opening the model.
            seconds = program(folder, model, Path(work, "c.safetensors"), views) - program(one, model, Path(work, "c.safetensors"), views)
            rust.append((len(paths) - 1) / seconds)
            begin = time.perf_counter()
            for result in classifier.stream(paths):
                result.top(5)
            python.append(len(paths) / (time.perf_counter() - begin))
            begin = time.perf_counter()
            classifier.scores(paths)
            rows.append(len(paths) / (time.perf_counter() - begin))
    rates = {"rust": statistics.median(rust), "stream": statistics.median(python), "scores": statistics.median(rows)}
    ratio = statistics.median(p / r for p, r in zip(python, rust))
    print(json.dumps({"model": str(model), "views": views, "pictures": len(paths), "pictures_per_s": rates, "stream_of_rust": ratio}))


main(*sys.argv[1:])
