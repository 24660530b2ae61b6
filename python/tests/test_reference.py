"""Against what PyTorch, transformers and Pillow computed: the golden set, and the shared one where it lies beside the checkout."""

import json

import numpy as np
import pytest
from conftest import GOLDEN, SHARED, tensors

import crossalign as xa

TOLERANCE = 2e-5


def folders():
    for root, file in [(GOLDEN, "golden.json"), (SHARED, "reference.json")]:
        missing = pytest.mark.skipif(not (root / file).exists(), reason=f"no {root}")
        models = sorted((root / "models").iterdir()) if (root / "models").exists() else [root / "models/none"]
        for model in models:
            yield pytest.param((root / file, model), id=f"{root.name}-{model.name}", marks=missing)


@pytest.fixture(params=list(folders()))
def case(request):
    reference, folder = request.param
    facts = json.loads(reference.read_text())
    pictures = {name: (reference.parent / f"pictures/{name}.png", fact["boxes"]) for name, fact in facts["pictures"].items()}
    activation = "quick_gelu" if folder.name == "openai" else None  # it has no config
    return xa.Model(folder, device="cpu", precision="f32", activation=activation), folder, pictures, facts["classes"]


@pytest.mark.filterwarnings("ignore:.*lost their end")
def test_embeddings(case):
    model, folder, pictures, classes = case
    expected = tensors(folder / "expected.safetensors")
    for name, (path, boxes) in pictures.items():
        found = model.encode_images(path, normalize=False, boxes=boxes)
        assert found.dtype == np.float32 and found.shape == (1, 1 + len(boxes), model.dimensions)
        np.testing.assert_allclose(found[0], expected[f"image_embeds.{name}"], atol=TOLERANCE, rtol=0)
    texts = [text for name, described in classes.items() for text in [f"a photo of a {name}.", *described]]
    found = model.encode_texts(texts, normalize=False)
    np.testing.assert_allclose(found, expected["text_embeds"], atol=TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore:.*lost their end")
def test_scores(case):
    model, folder, pictures, classes = case
    expected = json.loads((folder / "expected.json").read_text())
    for key, options in {
        "paper": {"method": "wca", "score": "paper"},
        "official": {"method": "wca", "score": "official"},
        "clip": {"method": "clip"},
        "cupl": {"method": "cupl"},
    }.items():
        classifier = model.compile(classes, **options)
        assert classifier.classes == list(classes)
        for name, (path, boxes) in pictures.items():
            of_picture, of_boxes = expected["pictures"][name], classifier.with_views(boxes=boxes)
            scores = [of_picture[key][label] for label in classes]
            found = of_boxes.scores([path])
            assert found.dtype == np.float32 and found.shape == (1, len(classes))
            np.testing.assert_allclose(found[0], scores, atol=TOLERANCE, rtol=0)
            (result,) = of_boxes.stream([path])
            assert result.scores.tobytes() == found.tobytes()
            if key in ("paper", "official"):
                assert [box for box, _ in result.views] == [tuple(box) for box in boxes]
                weights = [weight for _, weight in result.views]
                np.testing.assert_allclose(weights, of_picture["image_weights"], atol=TOLERANCE, rtol=0)
