"""The code of the pages runs as it stands there."""

import re

import numpy as np
import pytest
from conftest import ROOT

import crossalign as xa


@pytest.fixture
def run(paths, tmp_path, monkeypatch):
    """Runs the page's block that has a text, beside two pictures; returns its names."""
    for name, path in zip(["a.jpg", "b.jpg"], paths):
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)

    def run(page, text):
        (code,) = [code for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S) if text in code]
        names = {}
        exec(code, names)
        return names

    return run


@pytest.mark.parametrize("page", ["README.md", "python/README.md"])
def test_readme(run, page):
    names = run(page, "import crossalign as xa")
    assert names["scores"].shape == (2, 2) and names["embeddings"].shape == (2, names["model"].dimensions)


@pytest.mark.filterwarnings("ignore")  # Daft's own
def test_daft(run):
    pytest.importorskip("daft")
    found = run("docs/many-machines.md", "import daft")["frame"].to_pydict()["scores"]
    expected = xa.Model("mini").compile({"cat": ["whiskers"], "dog": ["a wet nose"]}).scores(["a.jpg", "b.jpg"])
    assert np.array(found, np.float32).tobytes() == expected.tobytes()
