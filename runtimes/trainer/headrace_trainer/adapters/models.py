"""What the script has done with its models: trained, evaluated, saved, loaded and named them, and what was measured on
the weights that each has now.

Trained models are held from the end of a training to the beginning of the next fit, so that those of a function that
has returned can still be exported; one that the script has let go of before the last training ended is counted only.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Scores = dict[str, float]  # by a metric's name in the run


@dataclass
class Trained:
    """A model to export, with what is known of its data. `rows` gives some of it, packed as x."""

    model: Any
    element_spec: Any
    rows: Callable[[], Any] | None = None


@dataclass
class _Known:
    """One model, held weakly. `at_end`: its scores are those that its last fit ended with."""

    ref: weakref.ref[Any]
    origin: str = ""
    data: tuple[Any, Callable[[], Any] | None] | None = None  # the element spec, and rows
    scores: Scores = field(default_factory=dict)
    at_end: bool = False


class Models:
    """All models of one script. Not thread-safe: a script trains in one thread."""

    def __init__(self) -> None:
        self.named: Any = None
        self.evaluated: Any = None  # since the last training
        self.dropped = 0
        self._known: dict[int, _Known] = {}
        self._held: list[Any] = []
        self._last: Any = None
        self._files: dict[str, Scores] = {}
        self._measured: set[str] = set()

    # --- what happens ---

    def begin(self, model: Any) -> None:
        """A fit begins: what the script has let go of may go."""
        self._held = [model]
        self._last = model

    def trained(self, model: Any, origin: str, scores: Scores, *, at_end: bool = True) -> None:
        """A fit has ended, `at_end` with the weights of its last epoch."""
        self._note_training(model, origin)
        known = self._of(model)
        known.scores, known.at_end = dict(scores), at_end
        self._measured |= scores.keys()
        if len(self._known) > 1:
            gc.collect()  # a model is full of cycles
            self._forget_dropped()
        self._held = [ref for known in self._known.values() if known.origin and (ref := known.ref()) is not None]

    def trained_by_hand(self, model: Any, origin: str) -> None:
        """A step of a loop of the script's own."""
        if self._last is model and self.evaluated is None:
            return
        self._note_training(model, origin)
        known = self._of(model)
        known.scores, known.at_end = {}, False
        if not any(held is model for held in self._held):
            self._held.append(model)

    def trained_again(self) -> None:
        """A step of a loop that was told before."""
        self.evaluated = None

    def evaluated_as(self, model: Any, scores: Mapping[str, float]) -> None:
        """`evaluate` outside of a fit has returned these."""
        self.evaluated = model
        found = {f"eval_{name}": value for name, value in scores.items()}
        self._of(model).scores.update(found)
        self._measured |= found.keys()

    def weights_changed(self, model: Any, path: Any = None) -> None:
        """Other weights were put in, of a file or by hand."""
        known = self._of(model)
        known.scores, known.at_end = dict(self._files.get(_absolute(path), {})) if path is not None else {}, False

    def saved(self, path: Any, scores: Scores) -> None:
        """A file has weights that these were measured on."""
        self._files[_absolute(path)] = dict(scores)

    def loaded(self, model: Any, path: Any) -> None:
        """A model comes from a file; from one that the script has saved, it may be the one that is meant."""
        scores = self._files.get(_absolute(path))
        known = self._of(model)
        known.scores = dict(scores or {})
        if scores is not None and self._last is not None:
            known.origin = f"loaded from {os.path.basename(str(path))}"
            self._held.append(model)

    def has_data(self, model: Any, element_spec: Any, rows: Callable[[], Any] | None) -> None:
        """What the model was fed with: its last training decides, or else its first evaluation."""
        self._of(model).data = (element_spec, rows)

    # --- what is known ---

    def knows_data_of(self, model: Any) -> bool:
        known = self._known.get(id(model))
        return known is not None and known.ref() is model and known.data is not None

    def scores_of(self, model: Any) -> Scores:
        """What was measured on the weights that the model has now."""
        return dict(self._of(model).scores)

    def candidates(self) -> list[tuple[Any, str]]:
        """Trained and loaded models, and where each comes from."""
        alive = ((known.ref(), known.origin) for known in self._known.values() if known.origin)
        return [(model, origin) for model, origin in alive if model is not None]

    def described(self, model: Any) -> Trained:
        """The model with its data, as far as that is known."""
        spec, rows = self._of(model).data or (None, None)
        return Trained(model, spec, rows)

    def metrics_of(self, model: Any) -> tuple[Scores, list[str]]:
        """What was measured on the weights that the model has now, and the names of what was measured on others, or on
        other weights, only. What a fit's last epoch says of its training stays the run's.
        """
        known = self._of(model)
        is_last = known.at_end and self._last is model
        told = [n for n in sorted(self._measured) if not is_last or n.startswith(("val_", "eval_"))]
        return {n: known.scores[n] for n in told if n in known.scores}, [n for n in told if n not in known.scores]

    def _note_training(self, model: Any, origin: str) -> None:
        self._last, self.evaluated = model, None
        self._of(model).origin = origin

    def _of(self, model: Any) -> _Known:
        known = self._known.get(id(model))
        if known is None or known.ref() is not model:
            if known is not None:
                self._count_dropped([known])
            known = self._known[id(model)] = _Known(weakref.ref(model))
        return known

    def _forget_dropped(self) -> None:
        gone = [key for key, known in self._known.items() if known.ref() is None]
        self._count_dropped(self._known.pop(key) for key in gone)

    def _count_dropped(self, gone: Iterable[_Known]) -> None:
        self.dropped += sum(known.origin.startswith("trained") for known in gone)


def _absolute(path: Any) -> str:
    return os.path.abspath(str(path))
