"""The model's answers to all rows, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from headrace_trainer.evaluation.artifact.kind import Array, Artifact
from headrace_trainer.evaluation.refusal import Refusal, words_of

_BATCH_BYTES = 32 << 20
_MOST_ROWS = 256


def batch_rows(artifact: Artifact, feed: Mapping[str, Array], most: int = _MOST_ROWS) -> int:
    """How many rows are asked at once; as many as the model was exported for, where that is fixed."""
    fixed = {tensor.shape[0] for tensor in artifact.inputs if tensor.shape and tensor.shape[0] is not None}
    if fixed:
        return max(size for size in fixed if size is not None)
    row = sum(values[:1].nbytes for values in feed.values())
    return max(1, min(most, _BATCH_BYTES // max(row, 1)))


def answers(
    artifact: Artifact, feed: Mapping[str, Array], output: str, rows_at_once: int, told: Callable[[int], None]
) -> Iterator[Array]:
    """The output, a batch after the other; `told` is called with how many rows were answered. Raises Refusal."""
    rows = len(next(iter(feed.values())))
    for start in range(0, rows, rows_at_once):
        end = min(start + rows_at_once, rows)
        batch = {name: _filled(values[start:end], rows_at_once, artifact, name) for name, values in feed.items()}
        try:
            found = artifact.run(batch)[output]
        except Exception as error:  # whatever the model's operations raise
            raise Refusal(
                f"the model ({artifact.format}) cannot compute the rows {start + 1} to {end}: {words_of(error)}",
                "The rows have to be as those that it was trained on: the same columns, sizes, and range of tokens.",
            ) from error
        if found.ndim == 0 or len(found) < end - start:
            raise Refusal(
                f"the model's output {output} has no row for each row of its input: its shape is {list(found.shape)} "
                f"for {end - start} rows",
                "Name an output with a row a row in evaluate.data.output.",
            )
        told(end)
        yield found[: end - start]


def _filled(values: Array, rows: int, artifact: Artifact, name: str) -> Array:
    """The last batch of a model that takes so many rows and no others: its last row again and again."""
    shape = next(tensor.shape for tensor in artifact.inputs if tensor.name == name)
    if not shape or shape[0] is None or len(values) == rows:
        return values
    return np.concatenate([values, np.repeat(values[-1:], rows - len(values), axis=0)])


def check_finite(values: Array, rows_before: int, output: str) -> None:
    """Raises Refusal where an answer is no number."""
    if values.dtype.kind != "f":
        return
    bad = int((~np.isfinite(values.reshape(len(values), -1))).any(axis=1).sum())
    if bad:
        raise Refusal(
            f"the model's output {output} is not finite for {bad} of the rows {rows_before + 1} to "
            f"{rows_before + len(values)}",
            "Such a model is not to be served. Look whether these rows have missing values (NaN) that the model's "
            "training data had not, and fill them or leave the rows out; else the training has diverged.",
        )
