"""Pictures in the columns of pyarrow tables: for Ray Data's ``map_batches``, and for anything else that has tables."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Optional, Sequence

import numpy as np

from ._crossalign import Classifier, Model

if TYPE_CHECKING:
    import os

    import pyarrow as pa


def to_arrow(rows: np.ndarray) -> pa.FixedSizeListArray:
    """The rows of an array for a column of a table, without a copy where they are contiguous.

    Parameters
        rows: float32 [n, D]

    Returns
        FixedSizeList<float32>[D] of length n. Rows of NaN stay so: pyarrow cannot read null ones back from Parquet.
    """
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


class Embed:
    """Embeds the pictures of a table, as ``dataset.map_batches(xa.Embed, batch_format="pyarrow", …)``.

    It pickles by its arguments; the model is opened with the first table, once a process.

    Parameters
        model: the model's name, as in Model.
        column: the column of the pictures: files' bytes, or paths.
        normalize: to unit length; else as projected.
        device, precision, threads, text_cleaning, activation: as in Model.

    Calling it with a pyarrow.Table returns the table with two columns more: ``embedding``, FixedSizeList<float32>[D], and ``error``,
    string. A picture that cannot be embedded has NaN and the reason, any other has null as error. A column of bytes is left out.
    """

    def __init__(self, model: str | os.PathLike[str] = "mini", *, column: str = "bytes", normalize: bool = True, **device: Any) -> None:
        self.model = Model(model, **device)
        self.column = column
        self.normalize = normalize

    def __call__(self, table: pa.Table) -> pa.Table:
        errors: dict[int, Exception] = {}
        rows = self.model.encode_images(_pictures(table, self.column), self.normalize, on_error=errors.__setitem__)
        return _with_columns(table, self.column, {"embedding": to_arrow(rows)}, errors)


class Classify:
    """Classifies the pictures of a table, as ``dataset.map_batches(xa.Classify, fn_constructor_kwargs={"prompts": …},
    batch_format="pyarrow", …)``.

    It pickles by its arguments; the prompts are compiled with the first table.

    Parameters
        model: the model's name, as in Model.
        prompts: as in Model.compile.
        classifier: a file of Classifier.save, in place of prompts.
        column: the column of the pictures: files' bytes, or paths.
        views: the local views, as the arguments of Classifier.with_views.
        device, precision, threads, text_cleaning, activation: as in Model.
        labels, method, score, …: as in Model.compile.

    Calling it with a pyarrow.Table returns the table with four columns more: ``class``, the best one, a string; ``score``, its score,
    float32; ``scores``, FixedSizeList<float32>[classes] in the order of the prompts; and ``error``, string. A picture that cannot be
    scored has null, null, NaN and the reason, any other has null as error. A column of bytes is left out.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "mini",
        prompts: Any = None,
        *,
        classifier: Optional[str | os.PathLike[str]] = None,
        column: str = "bytes",
        views: Optional[dict[str, Any]] = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        text_cleaning: str = "none",
        activation: Optional[str] = None,
        **options: Any,
    ) -> None:
        self.model = Model(model, device, precision, threads, text_cleaning, activation)
        self.prompts = prompts
        self.file = classifier
        self.column = column
        self.views = views
        self.options = options

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier, compiled or read when it is first asked for."""
        if self.file is not None:
            classifier = Classifier.load(self.file, self.model)
        else:
            classifier = self.model.compile(self.prompts, **self.options)
        return classifier if self.views is None else classifier.with_views(**self.views)

    def __call__(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        errors: dict[int, Exception] = {}
        rows = self.classifier.scores(_pictures(table, self.column), on_error=errors.__setitem__)
        bad = np.isnan(rows).any(axis=1)
        best = np.where(bad, 0, rows.argmax(axis=1))
        columns = {
            "class": pa.array(self.classifier.classes, pa.string()).take(pa.array(best, mask=bad)),
            "score": pa.array(rows[np.arange(len(rows)), best], mask=bad),
            "scores": to_arrow(rows),
        }
        return _with_columns(table, self.column, columns, errors)


def _pictures(table: pa.Table, column: str) -> pa.ChunkedArray:
    import pyarrow as pa

    if not isinstance(table, pa.Table):
        raise TypeError(f'table: found {type(table)}, expected a pyarrow.Table; map_batches gives one with batch_format="pyarrow"')
    return table.column(column)


def _with_columns(table: pa.Table, column: str, columns: dict[str, pa.Array], errors: dict[int, Exception]) -> pa.Table:
    """The table with these columns and that of the errors, without pictures' bytes."""
    import pyarrow as pa

    messages: Sequence[Optional[str]] = [str(errors[i]) if i in errors else None for i in range(len(table))]
    if not pa.types.is_string(table.schema.field(column).type) and not pa.types.is_large_string(table.schema.field(column).type):
        table = table.drop_columns([column])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table.append_column("error", pa.array(messages, pa.string()))
