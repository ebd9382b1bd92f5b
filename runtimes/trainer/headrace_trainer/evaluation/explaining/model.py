"""The artifact as the package that explains knows a model: a function of arrays, and its gradient where it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headrace_explain.kind import Gradient, NotExplainable
from headrace_trainer.evaluation.artifact import predict
from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.artifact.outputs import Kind
from headrace_trainer.evaluation.refusal import listed, words_of
from headrace_trainer.evaluation.said import Asking, Said


@dataclass(frozen=True)
class Model:
    """What is asked, and of which of its outputs."""

    asking: Asking
    said: Said

    @property
    def output(self) -> str:
        return self.said.output

    def outputs(self, feed: dict[str, Array]) -> dict[str, Array]:
        """Of a batch the one output that is judged."""
        return {self.output: self.values(feed)}

    def values(self, feed: dict[str, Array], look_at_clock: Callable[[], None] = lambda: None) -> Array:
        """`look_at_clock` is called before each batch but the first."""
        artifact, rows = self.asking.artifact, len(next(iter(feed.values())))

        def between(answered: int) -> None:
            if answered < rows:
                look_at_clock()

        at_once = predict.batch_rows(artifact, feed)
        return np.concatenate(list(predict.answers(artifact, feed, self.output, at_once, between)))

    def target(self, name: str) -> int | None:
        """The number of the class that is named; None where each row's own is meant. Raises NotExplainable."""
        if not name:
            return None
        classes = list(self.said.classes)
        if self._has_one_number and classes:
            classes = classes[1:]  # of two classes it is the second one's
        if name not in classes:
            told = listed(classes) or "no names of classes"
            raise NotExplainable(f"evaluate.explain.target is {name!r}, and what can be explained has {told}")
        return classes.index(name)

    def name_of(self, target: int) -> str:
        """Of which class a number is; empty where there are none."""
        classes = self.said.classes
        return "" if not classes else classes[1 if self._has_one_number else target]

    @cached_property
    def _has_one_number(self) -> bool:
        """The shape that the artifact tells may be open."""
        return self.values({name: values[:1] for name, values in self.asking.feed.items()}).size == 1

    def check(self) -> None:
        """Raises NotExplainable where the output has nothing that could rise or fall."""
        if self.said.kind == Kind.CLASSES:
            raise NotExplainable(
                f"the output {self.output} names a class and has no numbers: export the model with its probabilities"
            )

    def gradient(self) -> tuple[Gradient | None, str]:
        """How the output changes with the inputs, or why that cannot be told."""
        artifact = self.asking.artifact
        if artifact.gradient is None:
            return None, f"the format {artifact.format} has no gradients"
        if any(tensor.shape and tensor.shape[0] is not None for tensor in artifact.inputs):
            return None, "the model takes a fixed number of rows, of which no gradient is taken"
        row = {name: values[:1] for name, values in self.asking.feed.items()}
        if any(values.dtype.kind != "f" for values in row.values()):
            return None, "its inputs are not all broken numbers, so that nothing can change by a little"
        try:
            artifact.gradient(row, self.output, np.zeros(1, dtype=np.int64))
        except Exception as error:  # noqa: BLE001 - whatever the library says of an operation that has none
            return None, f"the artifact has no gradients: {words_of(error)}"
        return artifact.gradient, ""
