"""Every form of a picture gives the same bytes; what is no picture is told."""

import io
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import crossalign as xa


@pytest.fixture(scope="session")
def decoded(paths):
    """Drawings as arrays, all of one size."""
    arrays = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return [array for array in arrays if array.shape == arrays[0].shape][:5]


@pytest.fixture(scope="session")
def files(decoded):
    def png(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "png")
        return file.getvalue()

    return [png(array) for array in decoded]


@pytest.fixture(scope="session")
def expected(mini, decoded):
    return mini.encode_images(decoded)


def with_null_in_front(files, type):
    """An array whose offset is not 0."""
    return pa.array([b"other", None, *files], type)[2:]


FORMS = {
    "arrays": lambda decoded, files: decoded,
    "a tuple": lambda decoded, files: tuple(decoded),
    "a generator": lambda decoded, files: (array for array in decoded),
    "one array": lambda decoded, files: np.stack(decoded),
    "one array with gaps": lambda decoded, files: np.stack(decoded).repeat(2, axis=0)[::2],
    "arrays with gaps": lambda decoded, files: [array.repeat(2, axis=1)[:, ::2] for array in decoded],
    "Fortran's order": lambda decoded, files: [np.asfortranarray(array) for array in decoded],
    "bytes": lambda decoded, files: files,
    "bytearrays": lambda decoded, files: list(map(bytearray, files)),
    "memoryviews": lambda decoded, files: list(map(memoryview, files)),
    "PIL images": lambda decoded, files: list(map(Image.fromarray, decoded)),
    "PIL files": lambda decoded, files: [Image.open(io.BytesIO(file)) for file in files],
    "RGBA images": lambda decoded, files: [Image.fromarray(array).convert("RGBA") for array in decoded],
    "BinaryArray": lambda decoded, files: pa.array(files, pa.binary()),
    "LargeBinaryArray": lambda decoded, files: pa.array(files, pa.large_binary()),
    "a slice": lambda decoded, files: with_null_in_front(files, pa.binary()),
    "a large slice": lambda decoded, files: with_null_in_front(files, pa.large_binary()),
    "ChunkedArray": lambda decoded, files: pa.chunked_array([files[:2], [], files[2:]], pa.binary()),
    "scalars": lambda decoded, files: list(pa.array(files, pa.binary())),
    "mixed": lambda decoded, files: [files[0], decoded[1], Image.fromarray(decoded[2]), *files[3:]],
}


@pytest.mark.parametrize("form", FORMS)
def test_same_bytes(mini, decoded, files, expected, form):
    assert mini.encode_images(FORMS[form](decoded, files)).tobytes() == expected.tobytes()


def test_paths(mini, files, expected, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(len(files))]
    for path, file in zip(paths, files):
        path.write_bytes(file)
    texts = list(map(str, paths))
    for form in [paths, texts, pa.array(texts), pa.array(texts, pa.large_string())]:
        assert mini.encode_images(form).tobytes() == expected.tobytes()


def test_one_picture(mini, decoded, files, expected, tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(files[0])
    for picture in [decoded[0], files[0], Image.fromarray(decoded[0]), path, str(path)]:
        assert mini.encode_images(picture).tobytes() == expected[:1].tobytes()


def test_none(mini):
    for nothing in [[], (), pa.array([], pa.binary()), np.zeros((0, 8, 8, 3), np.uint8)]:
        assert mini.encode_images(nothing).shape == (0, mini.dimensions)


def test_views(mini, decoded, expected):
    found = mini.encode_images(decoded, views=3, seed=1)
    assert found.shape == (len(decoded), 4, mini.dimensions)
    assert found[:, 0].tobytes() == expected.tobytes()
    assert found.tobytes() == mini.encode_images(decoded, views=3, seed=1).tobytes()
    assert found.tobytes() != mini.encode_images(decoded, views=3, seed=2).tobytes()
    height, width, _ = decoded[0].shape
    boxes = mini.encode_images(decoded, boxes=[[0, 0, width // 2, height // 2]])
    assert boxes.shape == (len(decoded), 2, mini.dimensions)
    np.testing.assert_allclose(np.linalg.norm(boxes, axis=-1), 1, atol=1e-5)


def test_out(mini, decoded, expected):
    out = np.empty_like(expected)
    assert mini.encode_images(decoded, out=out) is out
    assert out.tobytes() == expected.tobytes()
    part = np.full((9, expected.shape[1]), 7, np.float32)
    mini.encode_images(decoded, out=part[2:7])
    assert part[2:7].tobytes() == expected.tobytes() and (part[:2] == 7).all() and (part[7:] == 7).all()
    for wrong in [np.empty((4, 4), np.float32), np.empty(expected.shape[::-1], np.float32).T]:
        with pytest.raises(xa.Error, match="out: found"):
            mini.encode_images(decoded, out=wrong)
    with pytest.raises(TypeError):
        mini.encode_images(decoded, out=np.empty(expected.shape))


BAD = {
    "None": None,
    "cut": b"\x89PNG\r\n\x1a\n",
    "no bytes": b"",
    "no file": "nowhere.png",
    "grey": np.zeros((8, 8), np.uint8),
    "floats": np.zeros((8, 8, 3), np.float32),
    "no pixels": np.zeros((0, 8, 3), np.uint8),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_picture(mini, classifier, files, expected, bad):
    pictures = [files[0], BAD[bad], files[1]]
    with pytest.warns(xa.PictureWarning, match="picture 1: "):
        found = mini.encode_images(pictures)
    assert found[[0, 2]].tobytes() == expected[:2].tobytes() and np.isnan(found[1]).all()
    with pytest.warns(xa.PictureWarning):
        scores = classifier.scores(pictures)
    assert np.isnan(scores[1]).all() and not np.isnan(scores[[0, 2]]).any()
    with pytest.raises(xa.PictureError):
        mini.encode_images(pictures, on_error="raise")
    errors = {}
    classifier.scores(pictures, on_error=errors.__setitem__)
    assert list(errors) == [1] and isinstance(errors[1], xa.PictureError)
    good, error, good_too = classifier.stream(pictures)
    assert isinstance(error.error, xa.PictureError) and error.top() == [] and error.views == [] and np.isnan(error.scores).all()
    assert good.error is None and good_too.scores.tobytes() == scores[2].tobytes()


def test_the_message_names_the_file(mini, broken):
    with pytest.raises(xa.PictureError, match="broken.png: picture: found "):
        mini.encode_images([broken], on_error="raise")


def test_a_callable_that_raises(mini):
    def stop(number, error):
        raise LookupError(number)

    with pytest.raises(LookupError, match="0"):
        mini.encode_images([b""], on_error=stop)


def test_null_in_arrow(mini, files, expected):
    with pytest.warns(xa.PictureWarning, match="picture 1: .*null"):
        found = mini.encode_images(pa.array([files[0], None, files[1]]))
    assert found[[0, 2]].tobytes() == expected[:2].tobytes()
    with pytest.warns(xa.PictureWarning):
        assert np.isnan(mini.encode_images(pa.array([None, b""], pa.binary()))).all()


def test_no_picture_by_its_type(mini, classifier, files):
    for wrong in [5, [5], [files[0], 5], [[files[0]]], {1: 2}, pa.array([1, 2]), np.zeros((2, 8, 8, 4), np.uint8), object()]:
        with pytest.raises(TypeError, match="pictures: found"):
            mini.encode_images(wrong)
    stream = classifier.stream([files[0], 5])
    assert next(stream).error is None
    with pytest.raises(TypeError):
        next(stream)


def test_pixels_of_a_bad_box(mini, decoded):
    with pytest.raises(xa.PictureError, match="box 0"):
        mini.encode_images(decoded[0], boxes=[[0, 0, 10000, 1]], on_error="raise")


def test_a_path_that_is_not_text(mini, tmp_path, files):
    path = Path(tmp_path / "ä ☃.png")
    path.write_bytes(files[0])
    assert not np.isnan(mini.encode_images(path)).any()


def test_no_warning_for_good_pictures(mini, files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mini.encode_images(files)
