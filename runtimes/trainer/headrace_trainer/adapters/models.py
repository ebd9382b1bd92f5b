"""What the script has done with its models (trained, evaluated, loaded and named them), and what was measured on which
weights.

A value belongs to the weights that it was measured on, by their fingerprint: whatever the script does with a model
(restores its best epoch, saves it and loads it again, averages it, trains on by hand), what is told of it at the end
was measured on the weights that it then has, or is not told.

A model that has the weights of a file that was there before the job is a reference: it is none of the job's, until it
is trained.

Trained models are held from the end of a training to the beginning of the next fit, so that those of a function that
has returned can still be exported; one that the script has let go of before the last training ended is counted only.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Scores = dict[str, float]  # by a metric's name in the run
_TRAINED = "trained"


@dataclass
class Trained:
    """A model to export, with what is known of its data. `rows` gives some of it, packed as x."""

    model: Any
    element_spec: Any
    rows: Callable[[], Any] | None = None


class Kept(Protocol):
    """Weights of a model as they were; `weights` is their fingerprint."""

    weights: str

    def put_back(self) -> None:
        """The model has them again."""

    def write(self, folder: Path) -> None:
        """To a file that goes with the checkpoints. Raises OSError where there is no room for it."""


class _Known:
    """One model, held weakly, and what it was fed with as long as it is there. `origin` is empty for one that was only
    looked at.
    """

    def __init__(self, model: Any) -> None:
        self.ref = weakref.ref(model, self._forget_data)
        self.origin = ""
        self.data: tuple[Any, Callable[[], Any] | None] | None = None
        self.evaluations = 0  # since it was trained
        self.is_of_own_file = False
        self.given_at = 0  # after how many steps of training it was given weights
        self.reference = ""  # the fingerprint of weights that are not the job's

    @property
    def was_trained(self) -> bool:
        return self.origin.startswith(_TRAINED)

    def _forget_data(self, _ref: Any) -> None:
        self.data = None


class Models:
    """All models of one script. Not thread-safe: a script trains in one thread.

    `print_of` gives the fingerprint of a model's weights, `kind_of` what models that are built alike have in common,
    `is_as_built` whether a model has the weights that it was built with, drawn by chance, `steps` counts those of
    loops by hand.
    """

    def __init__(self) -> None:
        self.print_of: Callable[[Any], str] = lambda model: str(id(model))
        self.kind_of: Callable[[Any], Hashable] = id
        self.is_as_built: Callable[[Any], bool] = lambda model: False
        self.steps: Callable[[], int] = lambda: 0
        self.named: Any = None
        self.named_print = ""  # its fingerprint when it was named, where it had not been trained
        self.named_at = 0  # how often the script's files had been put back by then
        self.kept: Kept | None = None  # the named one's weights as they were when it was named
        self.cannot_be_read = ""  # why there is no model in the file that was named
        self.dropped = 0
        self._known: dict[int, _Known] = {}
        self._held: list[Any] = []
        self._last: Any = None
        self._has_trained = False
        self._fitted: tuple[Any, Callable[[], int]] | None = None
        self._last_print = ""
        self._evaluated: list[Any] = []  # since the last training
        self._measured: dict[str, Scores] = {}
        self._names: set[str] = set()
        self._own: set[str] = set()  # fingerprints of what was trained here, or saved
        self._foreign: dict[str, str] = {}  # of references, with where they come from
        self._blank: set[str] = set()  # of what was saved as it had been built

    # --- what happens ---

    def begin(self, model: Any, steps: Callable[[], int] = lambda: 0) -> None:
        """A fit begins: what the script has let go of may go. `steps` says how many there were of it so far."""
        self._held, self._evaluated = [model], []
        self._last, self._fitted = model, (model, steps)

    def trained(self, model: Any, origin: str, epochs: Mapping[str, Scores]) -> None:
        """A fit has ended, or was interrupted; `epochs` has what each of its epochs has measured, by the fingerprint of
        the weights, the last one last.
        """
        self._note_training(model, f"{_TRAINED} by {origin}")
        for weights, scores in epochs.items():
            self._note(weights, scores)
            self._last_print = weights
        self._own |= epochs.keys()
        self._fitted = None
        if any(known.was_trained and known.ref() not in (None, model) for known in self._known.values()):
            gc.collect()  # a model is full of cycles
        self._hold_trained()

    def trained_by_hand(self, model: Any, origin: str) -> None:
        """A step of a loop of the script's own."""
        if self._last is model and not self._evaluated and self._of(model).was_trained:
            return
        self._last_print = ""
        self._note_training(model, f"{_TRAINED} by {origin}")
        if not any(held is model for held in self._held):
            self._held = []
            gc.collect()
            self._hold_trained()

    def trained_again(self) -> None:
        """A step of a loop that was told before."""
        self._evaluated = []

    def evaluated(self, model: Any, scores: Mapping[str, float]) -> None:
        """`evaluate` outside of a fit has returned these."""
        self._evaluated.append(model)
        self._of(model).evaluations += 1
        self._note(self.print_of(model), {f"eval_{name}": value for name, value in scores.items()})

    def given_weights(self, model: Any, origin: str) -> None:
        """Weights were put into a model by hand: it may be the one that is meant, if it is built like a trained one.
        Those of a reference make it another one.
        """
        if self._foreign and self._is_foreign(weights := self.print_of(model)):
            self._refer(model, weights, self._foreign[weights])
        elif self._is_trained_here:
            self._give(model, origin, is_of_own_file=False)

    def loaded(self, model: Any, origin: str, *, is_of_own_file: bool) -> None:
        """A model was made of a file, or given its weights; whether the job has written that."""
        weights = self.print_of(model)
        if self._is_foreign(weights) or (weights not in self._own and not is_of_own_file):
            self._refer(model, weights, origin)
        else:
            self._give(model, origin, is_of_own_file=weights not in self._blank)

    def saved(self, model: Any) -> None:
        """A model was written to a file, whole or its weights."""
        weights = self.print_of(model)
        if self._is_untrained(model):
            self._blank.add(weights)
        elif not self._is_foreign(weights):
            self._own.add(weights)

    def has_data(self, model: Any, element_spec: Any, rows: Callable[[], Any] | None) -> None:
        """What the model was fed with: its last training decides, or else its first evaluation."""
        self._of(model).data = (element_spec, rows)

    # --- what is known ---

    @property
    def trained_by_now(self) -> list[Any]:
        """Models of which a step of training was seen, that of a fit under way, too."""
        alive = [known.ref() for known in self._known.values() if known.was_trained]
        fitted = [self._fitted[0]] if self._fitted is not None and self._fitted[1]() > 0 else []
        return [*(model for model in alive if model is not None), *fitted]

    @property
    def is_any_meant(self) -> bool:
        """Whether there is something to export, although no step of training may have been seen."""
        return self.named is not None or bool(self.cannot_be_read) or bool(self.candidates())

    def knows_data_of(self, model: Any) -> bool:
        known = self._known.get(id(model))
        return known is not None and known.ref() is model and known.data is not None

    def described(self, model: Any) -> Trained:
        """The model with its data, as far as that is known."""
        spec, rows = self._of(model).data or (None, None)
        return Trained(model, spec, rows)

    def candidates(self) -> list[tuple[Any, str]]:
        """Models that were trained, and those built like them that were given weights since, with where each comes
        from. Where nothing was trained in this process: those of files that the job has written, if they were
        evaluated.
        """
        alive = [(model, known) for known in self._known.values() if (model := known.ref()) is not None]
        alive = [(model, known) for model, known in alive if not self._is_reference(model)]
        trained = [(model, known.origin) for model, known in alive if known.was_trained]
        kinds = {self.kind_of(model) for model, _ in trained}
        given = [
            (model, known.origin)
            for model, known in alive
            if self._is_given(known) and (self.kind_of(model) in kinds or self._counts_as_trained(known))
        ]
        return [*trained, *given]

    @property
    def evaluated_last(self) -> Any:
        """The model of the last evaluation since the last training, of those that have learned something in this job;
        None where there was none, and where several trained ones were compared and none was looked at once more.
        """
        evaluated = [model for model in self._evaluated if not self._is_untrained(model) and self._is_of_job(model)]
        if not evaluated:
            return None
        last = evaluated[-1]
        others = [self._of(model) for model in evaluated if model is not last]
        of_last = self._of(last)
        is_comparison = any(
            self._counts_as_trained(other) and other.evaluations >= of_last.evaluations for other in others
        )
        return None if self._counts_as_trained(of_last) and is_comparison else last

    @property
    def evaluated_references(self) -> list[tuple[Any, str]]:
        """Those of the models evaluated since the last training that are none of the job's, with where each comes
        from.
        """
        found = {id(model): model for model in self._evaluated if self._is_reference(model)}
        return [(model, self._foreign[self._of(model).reference]) for model in found.values()]

    @property
    def evaluated_untrained(self) -> Any:
        """The model of the last evaluation, if it has learned nothing, in this script or before; else None."""
        return self._evaluated[-1] if self._evaluated and self._is_untrained(self._evaluated[-1]) else None

    def _is_untrained(self, model: Any) -> bool:
        return not self._of(model).was_trained and self.is_as_built(model)

    def metrics_of(self, model: Any) -> tuple[Scores, list[str]]:
        """What was measured on the weights that the model has now, and the names of what was measured on others only.
        What a fit's last epoch says of its training stays the run's.
        """
        weights = self.print_of(model)
        scores = self._measured.get(weights, {})
        is_last = weights == self._last_print and self._last is model
        told = [name for name in sorted(self._names) if not is_last or name.startswith(("val_", "eval_"))]
        return {name: scores[name] for name in told if name in scores}, [name for name in told if name not in scores]

    @property
    def _is_trained_here(self) -> bool:
        return self._has_trained or self.steps() > 0

    def _is_reference(self, model: Any) -> bool:
        """As long as it has those weights."""
        reference = self._of(model).reference
        return bool(reference) and self.print_of(model) == reference

    def _is_of_job(self, model: Any) -> bool:
        return not self._is_reference(model) and (self._is_trained_here or self._counts_as_trained(self._of(model)))

    def _counts_as_trained(self, known: _Known) -> bool:
        """By another process, where none was trained in this one."""
        return known.was_trained or (
            not self._is_trained_here and self._is_given(known) and known.is_of_own_file and known.evaluations > 0
        )

    def _is_given(self, known: _Known) -> bool:
        """And nothing was trained after that."""
        return bool(known.origin) and not known.was_trained and known.given_at == self.steps()

    def _is_foreign(self, weights: str) -> bool:
        return weights in self._foreign and weights not in self._own

    def _refer(self, model: Any, weights: str, origin: str) -> None:
        self._foreign.setdefault(weights, origin)
        self._of(model).reference = weights

    def _give(self, model: Any, origin: str, *, is_of_own_file: bool) -> None:
        known = self._of(model)
        known.reference = ""
        if not known.was_trained:
            known.origin, known.is_of_own_file, known.given_at = origin, is_of_own_file, self.steps()

    def _note(self, weights: str, scores: Scores) -> None:
        self._measured.setdefault(weights, {}).update(scores)
        self._names |= scores.keys()

    def _note_training(self, model: Any, origin: str) -> None:
        self._last, self._evaluated, self._has_trained = model, [], True
        for known in self._known.values():
            if not known.was_trained:
                known.origin = ""
        known = self._of(model)
        known.origin, known.evaluations, known.reference = origin, 0, ""

    def _hold_trained(self) -> None:
        """What was trained and is still there; the others are counted."""
        gone = [key for key, known in self._known.items() if known.ref() is None]
        self._count_dropped(self._known.pop(key) for key in gone)
        alive = (known.ref() for known in self._known.values() if known.was_trained)
        self._held = [model for model in alive if model is not None]

    def _of(self, model: Any) -> _Known:
        known = self._known.get(id(model))
        if known is None or known.ref() is not model:
            if known is not None:
                self._count_dropped([known])
            known = self._known[id(model)] = _Known(model)
        return known

    def _count_dropped(self, gone: Iterable[_Known]) -> None:
        self.dropped += sum(known.was_trained for known in gone)
