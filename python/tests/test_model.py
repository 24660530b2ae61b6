"""Models, classifiers and streams: arguments, errors, pickling, threads, Ctrl-C, leaks, the program."""

import gc
import itertools
import json
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLE, GOLDEN, TESTSET

import crossalign as xa

PROGRAM = str(Path(sys.executable).with_name("crossalign"))


def test_the_ten_lines(tmp_path, paths):
    model = xa.Model("mini", device="auto", precision="auto")
    images = model.encode_images(paths[:3], normalize=True)
    texts = model.encode_texts(["a photo of a cat."])
    assert images.shape == (3, model.dimensions) and texts.shape == (1, model.dimensions)
    classifier = model.compile({"cat": ["whiskers", "pointed ears"], "dog": ["a wet nose"]}, method="wca", score="official")
    scores = classifier.scores(paths[:3])
    assert classifier.classes == ["cat", "dog"] and scores.shape == (3, 2) and scores.dtype == np.float32
    for result, path, row in zip(classifier.stream(paths[:3]), paths, scores):
        assert result.path == path and result.error is None and len(result.views) == 60
        assert dict(result.top(5)) == dict(zip(classifier.classes, row))
    classifier.save(tmp_path / "c.safetensors")
    loaded = xa.Classifier.load(tmp_path / "c.safetensors", model)
    assert loaded.scores(paths[:3]).tobytes() == scores.tobytes()


def test_normalize(mini, paths):
    images, texts = mini.encode_images(paths[:2], normalize=False), mini.encode_texts(["a", "b"], normalize=False)
    for raw, unit in [(images, mini.encode_images(paths[:2])), (texts, mini.encode_texts(["a", "b"]))]:
        np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)
    assert mini.encode_texts("a").tobytes() == mini.encode_texts(["a"]).tobytes()


def test_prompts(mini, tmp_path):
    described = {"cat": ["whiskers"], "dog": ["a wet nose"]}
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(described))
    for prompts in [described, file, str(file)]:
        assert mini.compile(prompts).classes == ["cat", "dog"]
    assert mini.compile(described, labels=["dog"]).classes == ["dog"]
    assert mini.compile(["a drawing of a {}."], labels=["cow", "cat"], method="clip-e").classes == ["cow", "cat"]
    assert mini.compile(labels=["cow"], method="clip").classes == ["cow"]
    assert len(mini.compile().classes) == 100
    with pytest.warns(UserWarning, match="1 of the texts are longer"):
        mini.compile({"cat": ["word " * 200]})


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda model: xa.Model(device="toaster"), "device: found"),
        (lambda model: xa.Model(precision="f7"), "f7"),
        (lambda model: xa.Model(text_cleaning="soap"), "soap"),
        (lambda model: model.compile({}), "prompts"),
        (lambda model: model.compile({"cat": []}), "cat"),
        (lambda model: model.compile({"cat": [3]}), "prompts"),
        (lambda model: model.compile({"cat": ["a"]}, method="guess"), "method: found .*guess"),
        (lambda model: model.compile({"cat": ["a"]}, score="guess"), "score: found .*guess"),
        (lambda model: model.compile({"cat": ["a"]}, reduction="guess"), "guess"),
        (lambda model: model.compile({"cat": ["a"]}, template="no place"), "template"),
        (lambda model: model.compile("nowhere.json"), "nowhere.json"),
        (lambda model: model.encode_images(EXAMPLE, views=-1), "out of range|can't convert"),
        (lambda model: model.encode_images(EXAMPLE, views=2, alpha=2.0), "crop sides"),
        (lambda model: model.encode_images(EXAMPLE, on_error="shrug"), "on_error"),
        (lambda model: xa.Classifier(b"", model), "classifier"),
        (lambda model: xa.Classifier.load("nowhere.safetensors", model), "nowhere.safetensors"),
    ],
)
def test_arguments(mini, call, message):
    with pytest.raises((xa.Error, OverflowError), match=message):
        call(mini)


def test_hierarchy():
    for error in [xa.ModelError, xa.PictureError, xa.DeviceError]:
        assert issubclass(error, xa.Error) and issubclass(error, Exception)
        assert pickle.loads(pickle.dumps(error("why"))).args == ("why",)


def test_errors_of_first_use(mini):
    model = xa.Model("no/such/folder")  # not opened yet
    for _ in range(2):
        with pytest.raises(xa.ModelError, match="no/such/folder"):
            model.encode_texts("a")
    with pytest.raises(xa.DeviceError, match="device cuda"):
        xa.Model(device="cuda:99").encode_texts("a")
    other = xa.Model(GOLDEN / "models/transformers", device="cpu").compile(labels=["a"], method="clip")
    mixed = pickle.loads(pickle.dumps(xa.Classifier(other.__getnewargs__()[0], mini)))
    with pytest.raises(xa.Error, match="compiled with model"):
        mixed.scores(EXAMPLE)


def test_pickling(mini, classifier, paths):
    model = pickle.loads(pickle.dumps(mini))
    assert repr(model) == repr(mini) == "crossalign.Model(\"mini\", device=\"cpu\", precision=\"auto\")"
    assert model.encode_images(paths[:2]).tobytes() == mini.encode_images(paths[:2]).tobytes()
    expected = classifier.scores(paths[:3])
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(classifier, protocol)).scores(paths[:3]).tobytes() == expected.tobytes()
    boxes = classifier.with_views(boxes=[[0, 0, 20, 20], [5, 5, 9, 9]])
    assert pickle.loads(pickle.dumps(boxes)).scores(paths[:3]).tobytes() == boxes.scores(paths[:3]).tobytes()
    assert len(pickle.dumps(mini)) < 200


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes(classifier, paths, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        rows = pool.map(classifier.scores, [paths[:2], paths[2:4]])
    assert np.concatenate(rows).tobytes() == classifier.scores(paths[:4]).tobytes()


def test_opened_once_a_process():
    """Equal models share the weights."""
    line = "import crossalign as xa, resource; models = [xa.Model(device='cpu') for _ in range({})];"
    line += "[model.dimensions for model in models]; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    one, many = (int(subprocess.check_output([sys.executable, "-c", line.format(count)])) for count in (1, 30))
    assert many < one + 20_000


def test_threads(mini, classifier, paths):
    expected = classifier.scores(paths[:8])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: classifier.scores(paths[:8]), range(8)):
            assert found.tobytes() == expected.tobytes()


def test_the_gil_is_released(classifier, paths):
    """Another thread goes on while pictures are scored."""
    times, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.001):
            times.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    classifier.with_views(60).scores(paths[:8])
    end = time.monotonic()
    stop.set()
    thread.join()
    within = [when for when in times if begin < when < end]
    assert len(within) > 50 * (end - begin), f"{len(within)} ticks in {end - begin} s"


def test_stream_of_a_generator(classifier, paths):
    pulled = []

    def endless():
        for path in itertools.cycle(paths):
            pulled.append(path)
            yield path

    stream = classifier.stream(endless())
    results = list(itertools.islice(stream, 50))
    stream.close()
    assert [result.index for result in results] == list(range(50))
    assert [result.path for result in results] == pulled[:50]
    assert list(stream) == []


def test_stream_of_a_queue(classifier, paths):
    """The input may wait for the results, and the stream may be dropped while it waits."""
    pictures = queue.Queue()
    stream = classifier.stream(iter(pictures.get, None))
    for path in paths[:3]:
        pictures.put(path)
        assert next(stream).path == path
    del stream
    pictures.put(None)


def test_an_input_that_raises(classifier, paths):
    def pictures():
        yield from paths[:3]
        raise LookupError("no more")

    stream = classifier.stream(pictures())
    assert [next(stream).path for _ in range(3)] == paths[:3]
    with pytest.raises(LookupError, match="no more"):
        next(stream)
    with pytest.raises(LookupError):
        classifier.scores(pictures())


INTERRUPTED = """
import itertools, sys, time
import crossalign as xa
classifier = xa.Model("mini", device="cpu").compile()
def pictures():
    for path in itertools.cycle(sys.argv[2:]):
        yield path
try:
    if sys.argv[1] == "stream":
        for result in classifier.stream(pictures()):
            print(result.index, flush=True)
    elif sys.argv[1] == "waiting":
        print("0", flush=True)
        next(classifier.stream(iter(lambda: time.sleep(1000), None)))
    else:
        print("0", flush=True)
        classifier.scores(list(itertools.islice(pictures(), 100_000)))
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("what", ["stream", "scores", "waiting"])
def test_interrupt(paths, what):
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, what, *paths[:5]], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert rest.endswith("stopped\n") and process.returncode == 0
    assert time.monotonic() - begin < 20


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_no_leak(broken):
    """A thousand calls keep neither memory nor threads nor references."""
    small = np.zeros((32, 32, 3), np.uint8)
    model = xa.Model(GOLDEN / "models/transformers", device="cpu")  # a small one
    classifier = model.compile({"cat": ["a"], "dog": ["b"]}).with_views(1)

    def call():
        model.encode_images([small, broken, small], on_error=lambda *_: None)
        model.encode_texts("a")
        classifier.scores(small)
        next(classifier.stream([small] * 3))

    for _ in range(30):
        call()
    before, references = resident(), sys.getrefcount(small)
    for _ in range(250):  # of four calls to the library
        call()
    grown = resident() - before
    assert grown < 16 << 20, f"{grown >> 20} MiB"
    assert sys.getrefcount(small) == references
    assert len(os.listdir("/proc/self/task")) < 20


def test_the_program(tmp_path, classifier, mini):
    run = lambda *arguments: subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    found = run("classify", EXAMPLE, "--format", "json", "--views", 4, "--device", "cpu")
    assert found.returncode == 0 and json.loads(found.stdout)["predictions"][0]["class"] == "pig"
    file = tmp_path / "c.safetensors"
    classifier.save(file)
    found = json.loads(run("classify", EXAMPLE, "--classifier", file, "--views", 4, "--format", "json", "--device", "cpu").stdout)
    (result,) = classifier.stream([EXAMPLE])
    assert [best["class"] for best in found["predictions"]] == [best for best, _ in result.top()]
    assert [tuple(view["box"]) for view in found["views"]] == [box for box, _ in result.views]
    found = run("classify", "nowhere.png")
    assert found.returncode == 1 and "nowhere.png" in found.stderr
    found = run("classify", "--no-such-option")
    assert found.returncode == 2 and "Usage: crossalign classify" in found.stderr
    assert run("--version").stdout.startswith("crossalign ")
    assert subprocess.run([sys.executable, "-m", "crossalign", "--version"], capture_output=True).returncode == 0


def test_interrupt_of_the_program():
    command = [PROGRAM, "classify", TESTSET, "--recursive", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    process.stdout.close()


def test_documented():
    for item in [xa, xa.Model, xa.Classifier, xa.Stream, xa.Result, xa.Embed, xa.Classify, xa.to_arrow]:
        assert len(item.__doc__) > 30
    for method in ["encode_images", "encode_texts", "compile"]:
        assert "Returns" in getattr(xa.Model, method).__doc__ or method == "compile"
