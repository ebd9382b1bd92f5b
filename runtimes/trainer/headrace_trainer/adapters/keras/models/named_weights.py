"""A named model's weights as they were when it was named: one copy of them, in the memory of the host.

It goes with the checkpoints as one of the script's own files: what has named the model (a callback that keeps the best
epoch) is not called again for the epochs that a resume passes over.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace_trainer.adapters import arrays as stored
from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.keras.models import weights
from headrace_trainer.adapters.keras.state import variables as state
from headrace_trainer.adapters.keras.state.host_copy import HostCopy

FILE = ".headrace-named.npz"
_ABOUT = "about"


class NamedWeights:
    """Of one model, which may be trained on; `weights` is their fingerprint. With a `before` of the same model no other
    memory is taken: what that has kept is gone then.
    """

    def __init__(self, model: Any, *, with_optimizer: bool, before: NamedWeights | None = None) -> None:
        self.weights = weights.print_of(model)
        self._model = model
        self._variables = _variables(model, with_optimizer=with_optimizer)
        self._copy = HostCopy() if before is None else before._let_go()
        self._arrays: Mapping[str, Array] = self._copy.take(self._variables)
        self._written: Path | None = None

    def is_of(self, model: Any) -> bool:
        """Whether these are of that model."""
        return self._model is model

    def put_back(self) -> None:
        """The model has them again."""
        state.load(list(self._variables.values()), self._arrays)

    def write(self, folder: Path) -> None:
        """Once. Raises OSError where there is no room for it."""
        if self._written is None:
            about = {"weights": self.weights, "name": str(self._model.name), "kind": _kind(self._model)}
            partial = folder / f"{FILE}.partial"
            try:
                encoded = np.frombuffer(json.dumps(about).encode(), np.uint8)
                stored.write(partial, {_ABOUT: encoded, **self._arrays})
                partial.replace(folder / FILE)
            finally:
                partial.unlink(missing_ok=True)
            self._written = folder / FILE

    def forget(self) -> None:
        """Something else is meant."""
        if self._written is not None:
            self._written.unlink(missing_ok=True)

    def _let_go(self) -> HostCopy:
        self._arrays = {}
        return self._copy


class NamedBefore:
    """In a file of an earlier attempt."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, ValueError, KeyError or BadZipFile where it is not what was written."""
        self._arrays = stored.StoredArrays(path)
        about = json.loads(self._arrays[_ABOUT].tobytes())
        self.weights, self._name, self._kind = str(about["weights"]), str(about["name"]), about["kind"]
        self._model: Any = None

    def find(self, models: Iterable[Any]) -> Any:
        """The only one of these models that it can be of, by its layers and, of several, by its name; else None."""
        alike = [model for model in models if _kind(model) == self._kind]
        named = [model for model in alike if model.name == self._name]
        found = named if len(alike) > 1 else alike
        self._model = found[0] if len(found) == 1 else None
        return self._model

    def put_back(self) -> None:
        """The model that was found has them. Raises CheckpointError where it is of another script."""
        with_optimizer = len(self._arrays) - 1 > len(_variables(self._model, with_optimizer=False))
        state.load(list(_variables(self._model, with_optimizer=with_optimizer).values()), self._arrays)

    def write(self, folder: Path) -> None:
        """It is there."""


def _variables(model: Any, *, with_optimizer: bool) -> dict[str, Any]:
    optimizer = getattr(model, "optimizer", None)  # one that was never compiled has no such attribute
    return state.named([*model.variables, *(optimizer.variables if with_optimizer and optimizer is not None else ())])


def _kind(model: Any) -> int:
    return zlib.crc32(repr(weights.kind_of(model)).encode())
