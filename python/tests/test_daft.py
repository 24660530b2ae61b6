"""The class of docs/many-machines.md for Daft."""

import re

import numpy as np
import pytest
from conftest import ROOT

import crossalign as xa

pytest.importorskip("daft")


@pytest.mark.filterwarnings("ignore")  # Daft's own
def test_the_documented_class(paths, tmp_path, monkeypatch):
    page = (ROOT / "docs/many-machines.md").read_text()
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "import daft" in code]
    for name, path in zip(["a.jpg", "b.jpg"], paths):
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    found = names["frame"].to_pydict()["scores"]
    expected = xa.Model("mini").compile({"cat": ["whiskers"], "dog": ["a wet nose"]}).scores(["a.jpg", "b.jpg"])
    assert np.array(found, np.float32).tobytes() == expected.tobytes()
