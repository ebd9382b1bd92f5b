"""A model's weights as they were at a moment: one copy of them, in the memory of the host."""

from __future__ import annotations

from typing import Any

from headrace_trainer.adapters.keras import weights
from headrace_trainer.adapters.keras.host_copy import HostCopy


class Kept:
    """Of one model, which may be trained on; `weights` is their fingerprint. With a `before` of the same model no other
    memory is taken: what that has kept is gone then.
    """

    def __init__(self, model: Any, *, with_optimizer: bool, before: Kept | None = None) -> None:
        self._model = model
        self.weights = weights.print_of(model)
        optimizer = getattr(model, "optimizer", None)  # one that was never compiled has no such attribute
        its_own = list(optimizer.variables) if with_optimizer and optimizer is not None else []
        self._variables = {str(index): variable for index, variable in enumerate([*model.variables, *its_own])}
        self._copy = HostCopy() if before is None else before._let_go()
        self._arrays = self._copy.take(self._variables)

    def is_of(self, model: Any) -> bool:
        """Whether these are of that model."""
        return self._model is model

    def put_back(self) -> None:
        """The model has them again."""
        for name, variable in self._variables.items():
            variable.assign(self._arrays[name])

    def _let_go(self) -> HostCopy:
        self._arrays = {}
        return self._copy
