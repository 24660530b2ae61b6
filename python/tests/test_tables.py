"""Columns of pyarrow tables, without an engine."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import crossalign as xa

PROMPTS = {"pig": ["a pink animal", "a curly tail"], "rocket": ["flames"], "teapot": ["a spout"]}
OPTIONS = {"device": "cpu", "prompts": PROMPTS, "views": {"views": 4}}


@pytest.fixture(scope="module")
def table(paths, broken):
    rows = [(Path(path).read_bytes(), path) for path in paths[:4]] + [(None, None), (b"no picture", broken)]
    return pa.table({"bytes": [row[0] for row in rows], "path": [row[1] for row in rows], "number": range(len(rows))})


def test_classify(table, classifier):
    classify = pickle.loads(pickle.dumps(xa.Classify(**OPTIONS)))
    found = classify(table)
    assert found.column_names == ["path", "number", "class", "score", "scores", "error"]
    scores = classifier.scores(table["path"][:4])
    assert found.schema.field("scores").type == pa.list_(pa.float32(), 3)
    assert np.stack(found["scores"][:4].to_numpy(zero_copy_only=False)).tobytes() == scores.tobytes()
    assert found["class"].to_pylist() == [classifier.classes[i] for i in scores.argmax(1)] + [None, None]
    assert found["score"].to_pylist() == [*scores.max(1), None, None]
    assert np.isnan(found["scores"][4:].to_numpy(zero_copy_only=False).tolist()).all()
    errors = found["error"].to_pylist()
    assert errors[:4] == [None] * 4 and "null" in errors[4] and "picture: found" in errors[5]
    by_path = xa.Classify(**OPTIONS, column="path")(table)
    assert by_path["bytes"].equals(table["bytes"]) and by_path["scores"][:4].equals(found["scores"][:4])
    assert "broken.png" in by_path["error"][5].as_py()
    assert same(pickle.loads(pickle.dumps(classify))(table), found)  # after it was used


def test_parquet_keeps_it(table, tmp_path):
    found = xa.Classify(**OPTIONS)(table)
    pq.write_table(found, tmp_path / "table.parquet")
    read = pq.read_table(tmp_path / "table.parquet").combine_chunks()
    assert read.schema.equals(found.schema) and bits(read["scores"]) == bits(found["scores"]) and read["error"].equals(found["error"])


def bits(column):
    return column.combine_chunks().values.to_numpy().tobytes()


def same(one, other):
    """Whether tables are equal, with NaN equal to itself."""
    return one.drop_columns("scores").equals(other.drop_columns("scores")) and bits(one["scores"]) == bits(other["scores"])


def test_classifier_file(table, classifier, tmp_path):
    classifier.save(tmp_path / "c.safetensors")
    classify = xa.Classify(classifier=tmp_path / "c.safetensors", device="cpu", views={"views": 4})
    assert same(classify(table), xa.Classify(**OPTIONS)(table))


def test_embed(table, mini):
    found = pickle.loads(pickle.dumps(xa.Embed(device="cpu")))(table)
    assert found.column_names == ["path", "number", "embedding", "error"]
    expected = mini.encode_images(table["bytes"][:4])
    assert np.stack(found["embedding"][:4].to_numpy(zero_copy_only=False)).tobytes() == expected.tobytes()
    assert np.isnan(found["embedding"][4:].to_numpy(zero_copy_only=False).tolist()).all()
    assert found["embedding"].null_count == 0 and found["error"].null_count == 4


def test_to_arrow():
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    column = xa.to_arrow(rows)
    assert column.type == pa.list_(pa.float32(), 3) and column.to_pylist() == rows.tolist()
    assert column.values.buffers()[1].address == rows.ctypes.data  # without a copy
    assert len(xa.to_arrow(rows[:0])) == 0


def test_no_rows(table):
    found = xa.Classify(**OPTIONS)(table[:0])
    assert len(found) == 0 and found.schema.equals(xa.Classify(**OPTIONS)(table).schema)


def test_another_batch_format(table):
    with pytest.raises(TypeError, match='batch_format="pyarrow"'):
        xa.Embed()({"bytes": np.array([b""])})
