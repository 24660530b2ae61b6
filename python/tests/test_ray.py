"""Ray Data on this machine: tables do not depend on who computes them, nor on actors that die."""

import importlib.util
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from PIL import Image
from test_tables import OPTIONS

import crossalign as xa

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

PICTURES = 500


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
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ray.cloudpickle.register_pickle_by_value(module)  # as __main__ is
    return module


def classified(dataset, **pool):
    dataset = dataset.map_batches(xa.Classify, fn_constructor_kwargs=OPTIONS, batch_format="pyarrow", batch_size=32, **pool)
    table = ray.get(dataset.to_arrow_refs())
    import pyarrow as pa

    return pa.concat_tables(table).sort_by("path").combine_chunks()


def test_actors_and_shuffled_blocks(folder):
    dataset = ray.data.read_binary_files(str(folder), include_paths=True, override_num_blocks=20)
    one = classified(dataset, concurrency=1)
    two = classified(dataset, concurrency=2)
    shuffled = classified(dataset.random_shuffle(seed=3), concurrency=2)
    assert len(one) == PICTURES and one["error"].null_count == PICTURES - 2
    assert one.equals(two) and one.equals(shuffled)
    here = xa.Classify(**OPTIONS, column="path")(one.select(["path"]))
    for column in ["class", "score", "scores"]:
        assert here[column].equals(one[column])


def content(out):
    return {part.name: part.read_bytes() for part in sorted(out.iterdir())}


@pytest.fixture(scope="module")
def expected(example, folder, tmp_path_factory):
    """What one process writes, without Ray."""
    out = tmp_path_factory.mktemp("expected")
    work = example.Part(str(out), "bytes", {"views": {"views": 4}})
    for part in example.parts(folder, out, 25):
        work(part)
    paths = pq.read_table(out)["path"].to_pylist()
    assert len(paths) == len(set(paths)) == PICTURES
    return content(out)


def run(example, folder, out, actors=2):
    example.main([str(folder), str(out), "--views", "4", "--part", "25", "--actors", str(actors)])


def test_example(example, folder, expected, tmp_path, capsys):
    run(example, folder, tmp_path)
    assert content(tmp_path) == expected
    assert "500 pictures, 2 without a result" in capsys.readouterr().out
    # Resumable: what is missing is computed again, and nothing else.
    parts = sorted(tmp_path.iterdir())
    for part in parts[:3]:
        part.unlink()
    (tmp_path / "cut.tmp").write_bytes(b"half a part")
    times = {part: part.stat().st_mtime_ns for part in parts[3:]}
    run(example, folder, tmp_path)
    assert content(tmp_path) == expected and times == {part: part.stat().st_mtime_ns for part in parts[3:]}
    run(example, folder, tmp_path)
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_example_of_parquet(example, folder, expected, tmp_path):
    table = ray.get(ray.data.read_binary_files(str(folder), include_paths=True).to_arrow_refs())[0].sort_by("path")
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    pq.write_table(table, source / "pictures.parquet", row_group_size=100)
    run(example, source, out)
    found = pq.read_table(out).sort_by("path")
    assert "bytes" not in found.column_names and found["path"].to_pylist() == table["path"].to_pylist()
    run(example, source, out)
    assert len(list(out.iterdir())) == -(-len(table) // 100)


def actors():
    """The processes of this cluster's actors that classify."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            title = Path(f"/proc/{process}/cmdline").read_bytes()
            parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
            grandparent = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended meanwhile
        if title.startswith(b"ray::") and b"Part" in title and int(grandparent) == os.getpid():
            yield int(process)


def test_an_actor_is_killed(example, folder, expected, tmp_path):
    killed = []

    def kill():
        while not killed:
            if len(list(tmp_path.glob("*.parquet"))) >= 3:
                killed.extend(list(actors())[:1])
                for process in killed:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run(example, folder, tmp_path)
    assert killed, "no actor was found"
    assert content(tmp_path) == expected
