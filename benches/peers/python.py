"""Pictures a second from Python beside the Rust stream, which is the program's `classify`: both of the installed wheel, in turns.
Processor time is told as well, as it depends less on what else the machine does.

usage: python.py FOLDER [MODEL] [VIEWS]   FOLDER: of pictures; VIEWS: 0 for the method cupl, which takes the whole picture alone
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crossalign as xa

PROMPTS = {"cat": ["whiskers", "pointed ears"], "rocket": ["flames", "a white cylinder"], "teapot": ["a spout"]}
ROUNDS = 5


def timed(work, who):
    """Seconds by the clock, and of the processor."""
    usage = lambda: sum(resource.getrusage(who)[:2])
    begin = time.perf_counter(), usage()
    work()
    return time.perf_counter() - begin[0], usage() - begin[1]


def main(folder, model="mini", views="60"):
    views = int(views)
    paths = sorted(map(str, Path(folder).iterdir()))
    compiled = xa.Model(model, device="cpu").compile(PROMPTS, method="wca" if views else "cupl")
    classifier = compiled.with_views(max(views, 1))

    def program(pictures):
        command = [sys.executable, "-m", "crossalign", "classify", pictures, "--model", model, "--classifier", file]
        command += ["--views", max(views, 1), "--device", "cpu", "--format", "json"]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)

    def stream():
        for result in classifier.stream(paths):
            result.top(5)

    with tempfile.TemporaryDirectory() as work:
        one, file = Path(work, "one"), Path(work, "c.safetensors")
        one.mkdir()
        Path(one, Path(paths[0]).name).symlink_to(Path(paths[0]).resolve())
        compiled.save(file)
        stream()
        rounds = []
        for _ in range(ROUNDS):
            # The program's start and the model's opening are not counted.
            all, first = (timed(lambda: program(pictures), resource.RUSAGE_CHILDREN) for pictures in (folder, one))
            rust = [(a - f) / (len(paths) - 1) for a, f in zip(all, first)]
            python = [seconds / len(paths) for seconds in timed(stream, resource.RUSAGE_SELF)]
            rounds.append([*rust, *python, rust[0] / python[0], rust[1] / python[1]])
    names = ["rust_s", "rust_cpu_s", "python_s", "python_cpu_s", "python_rate_of_rust", "python_rate_of_rust_by_cpu"]
    medians = {name: round(statistics.median(column), 5) for name, column in zip(names, zip(*rounds))}
    print(json.dumps({"model": str(model), "views": views, "pictures": len(paths)} | medians))


main(*sys.argv[1:])
