"""Which pictures a run gets, by the names of its metrics (pure).

    curves/loss.svg            `epoch/loss` with `val_loss`, over epochs; where there is no `epoch/loss`: `loss`
    curves/step/loss.svg       `loss` over steps, where there is `epoch/loss`

System metrics have charts of their own in MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace_common.tags import SYSTEM_METRICS

_EPOCH, _VALIDATION, _STEP = "epoch/", "val_", "step/"


@dataclass(frozen=True)
class Picture:
    """`curves` has a label and the metric's key for each curve. `name` is the picture's own, without the suffix."""

    name: str
    x_label: str
    curves: tuple[tuple[str, str], ...]


def pictures(keys: Iterable[str]) -> list[Picture]:
    """In the order of their names, those over epochs first."""
    left = {key for key in keys if not key.startswith(SYSTEM_METRICS)}
    has_epochs = any(key.startswith(_EPOCH) for key in left)
    main: list[Picture] = []
    for name in sorted({key.removeprefix(_EPOCH) for key in left}):
        base = _EPOCH + name if _EPOCH + name in left else name
        twin = _VALIDATION + name
        if base in left and twin in left:
            main.append(Picture(name, _unit(base, has_epochs), (("training", base), ("validation", twin))))
            left -= {base, twin}
        elif base.startswith(_EPOCH):
            main.append(Picture(name, _unit(base, has_epochs), ((name, base),)))
            left -= {base}
    taken = {picture.name for picture in main}
    rest = [
        Picture(_STEP + key if key in taken else key, _unit(key, has_epochs), ((key, key),)) for key in sorted(left)
    ]
    return [*main, *(picture for picture in rest if picture.name not in taken)]


def _unit(key: str, has_epochs: bool) -> str:
    """The validation of a run that logs epochs is one of epochs, also where it is alone."""
    return "epoch" if key.startswith(_EPOCH) or (has_epochs and key.startswith(_VALIDATION)) else "step"
