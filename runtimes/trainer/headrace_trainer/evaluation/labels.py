"""Which class each label is, and of which class each of a model's numbers speaks.

Labels are compared as texts: 1, 1.0 and "1" are one class, as CSV and Parquet would have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace_trainer.evaluation.data.table import Array
from headrace_trainer.evaluation.data.values import text_of
from headrace_trainer.evaluation.refusal import Refusal, UnreadableData, listed

_MOST_CLASSES = 50


def texts_of(label: Array, where: str) -> Array:
    """Of each row its class, as a text. A row with a 1 among zeros, one a class, is the number of its place. Raises
    Refusal.
    """
    found = label.reshape(len(label)) if label.ndim == 2 and label.shape[1] == 1 else label
    if found.ndim == 2 and found.dtype.kind in "iufb":
        if np.all((found != 0).sum(axis=1) == 1):
            return np.asarray((found != 0).argmax(axis=1)).astype(str)
        raise UnreadableData(
            f"{where}: a label has the shape {list(found.shape[1:])}, and is not a 1 among zeros",
            "Write one class a row.",
        )
    if found.ndim != 1:
        raise UnreadableData(f"{where}: a label has the shape {list(found.shape[1:])}", "Write one class a row.")
    if found.dtype.kind == "f" and not np.all(np.isfinite(found) & (found == np.floor(found))):
        raise UnreadableData(
            f"{where}: the labels are broken numbers, and no classes", "Use task: Regression, or write a class a row."
        )
    if found.dtype.kind in "iub":
        return found.astype(np.int64).astype(str)
    if found.dtype.kind == "O":
        return np.array([text_of(value) for value in found])
    return found.astype(np.int64).astype(str) if found.dtype.kind == "f" else found.astype(str)


def names_of(
    width: int, told: Sequence[str], labels: Sequence[str], *, may_lack_some: bool = False
) -> tuple[tuple[str, ...], str]:
    """What each of a model's `width` numbers is of, and what is to be said of how that is known. `told` is what the
    model itself says, `labels` which there are in the data. Raises Refusal; not where a class is lacking that the model
    `may_lack`: an earlier version is then wrong on its rows.
    """
    if len(told) == width:
        return tuple(told), ""
    numbers = tuple(map(str, range(width)))
    is_whole = all(_is_whole(label) for label in labels)
    if all(label in numbers for label in labels) or (is_whole and may_lack_some and _lacks_some(numbers, labels)):
        return numbers, ""
    if is_whole:
        raise Refusal(
            f"the model has {width} classes, from 0 to {width - 1}, and the data has the labels {_classes(labels)}",
            "Write the labels as the model was trained on them, from 0 on; or correct evaluate.data.label or output.",
        )
    if len(labels) == width:
        return tuple(sorted(labels)), (
            f"The model does not say what its {width} classes are called: they are taken for the labels in sorted "
            f"order, {listed(sorted(labels))}."
        )
    raise Refusal(
        f"the model has {width} classes and does not say what they are called, and the data has {len(labels)} labels: "
        f"{_classes(labels)}",
        "Write the labels as the numbers that the model was trained on, from 0 on.",
    )


def _lacks_some(numbers: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether the labels go on after the numbers, and do not count from another one than 0."""
    counts_from_elsewhere = len(labels) == len(numbers) and numbers[0] not in labels
    return not counts_from_elsewhere and not set(numbers).isdisjoint(labels)


def check_known(texts: Array, names: Sequence[str], where: str) -> None:
    """Raises Refusal where the model has no such class."""
    unknown = sorted(set(map(str, np.unique(texts))) - set(names))
    if unknown:
        raise Refusal(
            f"{where} has labels that the model cannot give: {_classes(unknown)}; it knows {listed(names)}",
            "Correct evaluate.data.label, or leave rows of classes out that the model was not trained on.",
        )


def check_comparable(said: Array, texts: Array, where: str) -> None:
    """Raises Refusal where a model's answers and the labels have nothing in common but that they are classes."""
    answers, there = (sorted(set(map(str, values))) for values in (said, texts))
    if set(answers).isdisjoint(there) and all(map(_is_whole, answers)) != all(map(_is_whole, there)):
        raise Refusal(
            f"the model says {_classes(answers)}, and {where} has the labels {_classes(there)}: one of them by names, "
            "the other by numbers",
            "Write the labels as the model says them, or name an output with probabilities in evaluate.data.output.",
        )


def numbers_of(texts: Array, names: Sequence[str]) -> Array:
    """Of each text the number of its class; -1 where there is none."""
    number = {name: place for place, name in enumerate(names)}
    values, of = np.unique(texts, return_inverse=True)
    places = np.array([number.get(str(value), -1) for value in values])
    return np.asarray(places[of.reshape(-1)])


def _classes(labels: Sequence[str]) -> str:
    """By their names; not of a column that has as many values as a column of names or numbers has."""
    return listed(labels) if len(labels) <= _MOST_CLASSES else f"{len(labels)} different ones"


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
