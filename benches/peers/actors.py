"""What Ray Data costs on this machine: `xa.Classify` over a table of files' bytes in one process, and by `map_batches` with one and with two
actors, which share its threads. In turns. Rates are from the first batch's begin to the last result's arrival: the actors' start and the
model's opening are told apart.

usage: actors.py FOLDER [MODEL] [VIEWS] [PICTURES]   FOLDER: of pictures, taken again and again; VIEWS: 0 for the method cupl
"""

import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray

import crossalign as xa

PROMPTS = {"cat": ["whiskers", "pointed ears"], "rocket": ["flames", "a white cylinder"], "teapot": ["a spout"]}
ROUNDS = 3
BATCH = 64
THREADS = os.cpu_count()


class Timed(xa.Classify):
    """Opens its model when it is made, and tells when each batch began."""

    def __init__(self, picture, **options):
        super().__init__(**options)
        super().__call__(pa.table({"bytes": [picture]}))

    def __call__(self, table):
        begin = time.time()
        return super().__call__(table).append_column("begin", pa.array(np.full(len(table), begin)))


def main(folder, model="mini", views="60", count="512"):
    views, count = int(views), int(count)
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    table = pa.table({"bytes": list(itertools.islice(itertools.cycle(files), count))})
    blocks = [table.slice(first, BATCH) for first in range(0, count, BATCH)]
    options = {"picture": files[0], "model": str(model), "device": "cpu", "prompts": PROMPTS, "method": "wca" if views else "cupl"}
    options |= {"views": {"views": views}} if views else {}
    # Else Ray's workers have a lower priority than one process, and what else the machine does would be taken for Ray's cost.
    os.environ["RAY_worker_niceness"] = "0"
    ray.init(num_cpus=THREADS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = 60  # else the first actor that is up has both actors' work

    def process():
        classify = Timed(**options)
        return [classify(block) for block in blocks]

    def actors(number):
        dataset = ray.data.from_arrow(blocks).map_batches(
            Timed,
            fn_constructor_kwargs=options | {"threads": THREADS // number},
            batch_format="pyarrow",
            batch_size=BATCH,
            num_cpus=THREADS / number,
            compute=ray.data.ActorPoolStrategy(size=number),
        )
        return ray.get(dataset.to_arrow_refs())

    def seconds(work):
        """Until the first batch, and from there to the end."""
        start = time.time()
        found = pa.concat_tables(work())
        end = time.time()
        assert len(found) == count and found["error"].null_count == count
        begin = min(found["begin"].to_pylist())
        return begin - start, end - begin

    works = {"one process": process, "one actor": lambda: actors(1), "two actors": lambda: actors(2)}
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    print(f"{model}, {views} views, {count} pictures in batches of {BATCH}, {ROUNDS} rounds, ray {ray.__version__}")
    print("| | s until the first batch | pictures/s from there | of one process's rate |\n| --- | --- | --- | --- |")
    for name in works:
        start, rest = (statistics.median(row[name][i] for row in rounds) for i in (0, 1))
        share = statistics.median(row["one process"][1] / row[name][1] for row in rounds)
        print(f"| {name} | {start:.1f} | {count / rest:.1f} | {share:.2f} |")
    print(json.dumps(rounds))


main(*sys.argv[1:])
