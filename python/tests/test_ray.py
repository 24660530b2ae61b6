"""Ray Data on this machine: tables do not depend on who computes them, nor on actors that die."""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import GOLDEN, ROOT
from PIL import Image
from test_tables import same

import crossalign as xa

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

PICTURES = 500
PROMPTS = {"circle": ["a round shape", "a ring"], "gradient": ["colours that flow"]}
# A small model: nearly all of the time is Ray's.
OPTIONS = {"model": str(GOLDEN / "models/transformers"), "device": "cpu", "prompts": PROMPTS, "views": {"views": 4}}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of noise, two of which are none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        width, height = random.integers(20, 60, 2)
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number:03}.png")
    for bad in ["100.png", "400.png"]:
        (folder / bad).write_bytes((folder / bad).read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("ray_classify", ROOT / "examples/ray_classify.py")
    module = sys.modules["ray_classify"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ray.cloudpickle.register_pickle_by_value(module)  # as __main__ is
    return module


def test_actors_and_shuffled_blocks(folder):
    """As one process that takes all rows at once."""
    paths = sorted(folder.iterdir())
    table = pa.table({"path": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths]})
    expected = xa.Classify(**OPTIONS)(table)
    assert expected["error"].null_count == PICTURES - 2
    rows = np.random.default_rng(1).permutation(PICTURES)
    dataset = ray.data.from_arrow([table.take(pa.array(part)) for part in np.array_split(rows, 20)])
    dataset = dataset.map_batches(
        xa.Classify, fn_constructor_kwargs=OPTIONS, batch_format="pyarrow", batch_size=32, compute=ray.data.ActorPoolStrategy(size=2)
    )
    found = pa.concat_tables(ray.get(dataset.to_arrow_refs())).sort_by("path").combine_chunks()
    assert same(found, expected)


def content(out):
    return {part.name: part.read_bytes() for part in out.iterdir()}


@pytest.fixture(scope="module")
def expected(example, folder, tmp_path_factory):
    """What one process writes, without Ray."""
    out = tmp_path_factory.mktemp("expected")
    work = example.Part(str(out), "bytes", OPTIONS)
    for part in example.parts(folder, out, 25):
        work(part)
    paths = pq.read_table(out)["path"].to_pylist()
    assert len(paths) == len(set(paths)) == PICTURES
    return content(out)


def run(example, folder, out, actors, part):
    prompts = out.with_suffix(".json")
    prompts.write_text(json.dumps(PROMPTS))
    options = {"model": OPTIONS["model"], "device": "cpu", "prompts": prompts, "views": 4, "part": part, "actors": actors}
    example.main([str(folder), str(out), *(text for name, value in options.items() for text in (f"--{name}", str(value)))])


def actors():
    """The processes of this cluster's actors."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            title = Path(f"/proc/{process}/cmdline").read_bytes()
            parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
            grandparent = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended meanwhile
        if title.startswith(b"ray::") and b"Part" in title and int(grandparent) == os.getpid():
            yield int(process)


def test_an_actor_is_killed(example, folder, expected, tmp_path, capsys):
    """The run ends with every row once, and one that follows computes what is missing alone."""
    killed = []

    def kill():
        while not killed:
            if len(list(tmp_path.glob("*.parquet"))) >= 3:
                killed.extend(list(actors())[:1])
                for process in killed:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    threading.Thread(target=kill, daemon=True).start()
    run(example, folder, tmp_path, actors=2, part=25)
    assert killed and "500 pictures, 2 without a result" in capsys.readouterr().out
    assert content(tmp_path) == expected

    parts = sorted(tmp_path.iterdir())
    for part in parts[:3]:
        part.unlink()
    (tmp_path / "cut.tmp").write_bytes(b"half a part")
    times = {part: part.stat().st_mtime_ns for part in parts[3:]}
    run(example, folder, tmp_path, actors=1, part=25)
    assert content(tmp_path) == expected and times == {part: part.stat().st_mtime_ns for part in parts[3:]}
    run(example, folder, tmp_path, actors=1, part=25)
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_parquet(example, folder, tmp_path):
    paths = sorted(folder.iterdir())[:40]
    table = pa.table({"path": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths]})
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    pq.write_table(table, source / "pictures.parquet", row_group_size=15)
    run(example, source, out, actors=1, part=1000)
    found = pq.read_table(out).sort_by("path")
    assert len(list(out.iterdir())) == 3 and found["path"].equals(table["path"]) and "bytes" not in found.column_names
