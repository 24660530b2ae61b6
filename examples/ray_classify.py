"""Classifies a folder of pictures, or of Parquet files with a column of them, on all machines of a Ray cluster.

    python examples/ray_classify.py FOLDER OUT [--model NAME] [--prompts FILE] [--actors N] [--gpus N]

The work is cut into parts. An actor writes each part as a Parquet file into OUT, whole or not at all: run it again after a crash, on
fewer machines, or when there are more pictures, and what is in OUT already is not computed again.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

import crossalign as xa

PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def parts(folder, out, size):
    """What is to be done: paths of pictures, `size` a part, or a row group of a Parquet file."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    done = set().union(*(pq.read_table(part, columns=["path"])["path"].to_pylist() for part in Path(out).glob("pictures-*.parquet")))
    paths = [str(path) for path in files if path.suffix.lower() in PICTURES and str(path) not in done]
    for first in range(0, len(paths), size):
        yield {"name": named("pictures", *paths[first : first + size]), "paths": paths[first : first + size]}
    for file in (str(path) for path in files if path.suffix == ".parquet"):
        for group in range(pq.ParquetFile(file).num_row_groups):
            name = named("rows", file, group)
            if not Path(out, name).exists():
                yield {"name": name, "file": file, "group": group}


def named(kind, *content):
    """A file's name that tells its content."""
    return f"{kind}-{hashlib.sha256(repr(content).encode()).hexdigest()[:16]}.parquet"


class Part:
    """An actor, which does one part after the other."""

    def __init__(self, out, column, options):
        self.out = out
        self.of_paths = xa.Classify(column="path", **options)
        self.of_rows = xa.Classify(column=column, **options)

    def __call__(self, part):
        if part.get("file"):
            table = self.of_rows(pq.ParquetFile(part["file"]).read_row_group(part["group"]))
        else:
            table = self.of_paths(pa.table({"path": pa.array(part["paths"], pa.string())}))
        with tempfile.NamedTemporaryFile(dir=self.out, suffix=".tmp", delete=False) as file:
            pq.write_table(table, file)
        os.replace(file.name, Path(self.out, part["name"]))
        return {"name": part["name"], "rows": len(table), "errors": len(table) - table["error"].null_count}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of pictures, or of Parquet files; seen by all machines")
    parser.add_argument("out", help="folder for the results; seen by all machines")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--prompts", help="a JSON file {class: [description, …]}; for mini, its own are the default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--column", default="bytes", help="of the pictures in Parquet files")
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--gpus", type=float, default=0, help="of each actor; 0.5: two actors share one")
    parser.add_argument("--part", type=int, default=1000, help="pictures in a part")
    chosen = parser.parse_args(arguments)

    out = Path(chosen.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob("*.tmp"):
        unfinished.unlink()
    work = list(parts(Path(chosen.folder).resolve(), out, chosen.part))
    if not work:
        return print("nothing to do")
    prompts = Path(chosen.prompts).resolve() if chosen.prompts else None
    options = {"model": chosen.model, "device": chosen.device, "prompts": prompts, "views": {"views": chosen.views}}
    dataset = ray.data.from_items(work, override_num_blocks=len(work)).map(
        Part,
        fn_constructor_args=(str(out), chosen.column, options),
        compute=ray.data.ActorPoolStrategy(size=chosen.actors),
        num_gpus=chosen.gpus,
    )
    rows = errors = 0
    for part in dataset.iter_rows():
        rows, errors = rows + part["rows"], errors + part["errors"]
        print(f"{part['name']}: {part['rows']} pictures", flush=True)
    print(f"{rows} pictures, {errors} without a result")


if __name__ == "__main__":
    main()
