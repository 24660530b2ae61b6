"""Training-free image classification and embeddings with CLIP, on hand-written compute kernels.

::

    import crossalign as xa

    model = xa.Model("mini")                         # or the folder of any CLIP
    embeddings = model.encode_images(pictures)       # float32 [n, D]
    classifier = model.compile({"cat": ["whiskers", "pointed ears"], "dog": ["a wet nose"]})
    scores = classifier.scores(pictures)             # float32 [n, 2]
    for result in classifier.stream(paths):          # any number of pictures, at the device's full rate
        print(result.path, result.top(5), result.error)

Pictures are paths, files' bytes, PIL images, arrays ``[h, w, 3]`` of uint8, iterables of these, arrays ``[n, h, w, 3]``, or pyarrow
arrays of binaries or paths.
"""

from ._crossalign import (
    Classifier,
    DeviceError,
    Error,
    Model,
    ModelError,
    PictureError,
    PictureWarning,
    Result,
    Stream,
)
from .tables import Classify, Embed, to_arrow

__all__ = [
    "Classifier",
    "Classify",
    "DeviceError",
    "Embed",
    "Error",
    "Model",
    "ModelError",
    "PictureError",
    "PictureWarning",
    "Result",
    "Stream",
    "to_arrow",
]
