"""Types of the compiled module; ``help(crossalign)`` has the documentation."""

import os
from typing import Any, Callable, Iterable, Iterator, Literal, Optional, Sequence, Union, final

import numpy as np
from numpy.typing import NDArray

# A path, a file's bytes, a PIL.Image, an array [h, w, 3] of uint8, an iterable of these, an array [n, h, w, 3], or a pyarrow array.
_Pictures = Union[str, os.PathLike[str], bytes, NDArray[np.uint8], Iterable[Any], Any]
_OnError = Union[Literal["null", "raise"], Callable[[int, PictureError], object]]
_Box = Sequence[int]

class Error(Exception): ...
class ModelError(Error): ...
class PictureError(Error): ...
class DeviceError(Error): ...
class PictureWarning(UserWarning): ...

@final
class Model:
    def __new__(
        cls,
        name: Union[str, os.PathLike[str]] = "mini",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        text_cleaning: str = "none",
        activation: Optional[str] = None,
    ) -> Model: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def image_size(self) -> int: ...
    @property
    def running_on(self) -> str: ...
    def encode_images(
        self,
        pictures: _Pictures,
        normalize: bool = True,
        *,
        views: int = 0,
        alpha: float = 0.5,
        beta: float = 0.9,
        seed: int = 0,
        boxes: Optional[Sequence[_Box]] = None,
        out: Optional[NDArray[np.float32]] = None,
        on_error: _OnError = "null",
    ) -> NDArray[np.float32]: ...
    def encode_texts(self, texts: Union[str, Sequence[str]], normalize: bool = True) -> NDArray[np.float32]: ...
    def compile(
        self,
        prompts: Union[dict[str, Any], Sequence[str], str, os.PathLike[str], None] = None,
        *,
        labels: Optional[Sequence[str]] = None,
        method: str = "wca",
        score: str = "official",
        reduction: str = "mean",
        image_scale: float = 4.0,
        text_scale: float = 2.0,
        template: str = "a photo of a {}.",
    ) -> Classifier: ...
    def __getnewargs__(self) -> tuple[Any, ...]: ...

@final
class Classifier:
    def __new__(
        cls,
        compiled: bytes,
        model: Model,
        views: int = 60,
        alpha: float = 0.5,
        beta: float = 0.9,
        seed: int = 0,
        boxes: Optional[Sequence[_Box]] = None,
    ) -> Classifier: ...
    @staticmethod
    def load(path: Union[str, os.PathLike[str]], model: Model) -> Classifier: ...
    def save(self, path: Union[str, os.PathLike[str]]) -> None: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def model(self) -> Model: ...
    def with_views(
        self,
        views: int = 60,
        alpha: float = 0.5,
        beta: float = 0.9,
        seed: int = 0,
        boxes: Optional[Sequence[_Box]] = None,
    ) -> Classifier: ...
    def scores(self, pictures: _Pictures, *, on_error: _OnError = "null") -> NDArray[np.float32]: ...
    def stream(self, pictures: _Pictures) -> Stream: ...
    def __getnewargs__(self) -> tuple[Any, ...]: ...

@final
class Stream:
    def __iter__(self) -> Iterator[Result]: ...
    def __next__(self) -> Result: ...
    def close(self) -> None: ...

@final
class Result:
    @property
    def index(self) -> int: ...
    @property
    def path(self) -> Union[str, os.PathLike[str], None]: ...
    @property
    def scores(self) -> NDArray[np.float32]: ...
    @property
    def views(self) -> list[tuple[tuple[int, int, int, int], float]]: ...
    @property
    def error(self) -> Optional[PictureError]: ...
    def top(self, k: int = 5) -> list[tuple[str, float]]: ...

def run(line: Sequence[str]) -> int: ...
