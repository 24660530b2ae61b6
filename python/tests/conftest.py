import json
from pathlib import Path

import numpy as np
import pytest

import crossalign as xa

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
SHARED = ROOT.parent / "shared/reference"
EXAMPLE = ROOT / "models/mini/example.png"
TESTSET = ROOT / "models/mini/testset"


def tensors(path):
    """The f32 tensors of a safetensors file."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    part = lambda tensor: content[8 + size :][slice(*tensor["data_offsets"])]
    return {name: np.frombuffer(part(tensor), "<f4").reshape(tensor["shape"]) for name, tensor in header.items()}


@pytest.fixture(scope="session")
def mini():
    return xa.Model("mini", device="cpu")


@pytest.fixture(scope="session")
def classifier(mini):
    """Few views, for time."""
    return mini.compile({"pig": ["a pink animal", "a curly tail"], "rocket": ["flames"], "teapot": ["a spout"]}).with_views(4)


@pytest.fixture(scope="session")
def paths():
    """Drawings of the model's test set."""
    return sorted(map(str, TESTSET.glob("single/*/*.png")))[:40]


@pytest.fixture(scope="session")
def broken(tmp_path_factory):
    path = tmp_path_factory.mktemp("broken") / "broken.png"
    path.write_bytes(EXAMPLE.read_bytes()[:500])
    return str(path)
