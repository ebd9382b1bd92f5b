"""What the operator has to know of a framework, a row each: what a spec may ask for with it (of which the CEL rules are
made), and what its pods need. The pod's side of it is the launcher's `frameworks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headrace.api.base import Rule
from headrace_common.formats import ModelFormat


class Framework(StrEnum):
    KERAS = "Keras"
    SCRIPT = "Script"


class StrategyType(StrEnum):
    SINGLE_WORKER = "SingleWorker"
    MIRRORED = "Mirrored"
    MULTI_WORKER_MIRRORED = "MultiWorkerMirrored"
    MULTI_WORKER = "MultiWorker"


@dataclass(frozen=True)
class Rendezvous:
    """Where the workers of a gang meet: a port of each pod's, by its name and number."""

    name: str
    port: int


@dataclass(frozen=True)
class Row:
    """One framework's. `formats` are those that can come out; where a spec names none of them, `default_formats` do,
    and with `hands_over` those of them that the program has. `shares_memory`: its processes pass data by /dev/shm.
    """

    rendezvous: Rendezvous
    strategies: tuple[StrategyType, ...]
    formats: tuple[ModelFormat, ...]
    default_formats: tuple[ModelFormat, ...] = (ModelFormat.TENSORFLOW, ModelFormat.ONNX)
    hands_over: bool = False
    shares_memory: bool = False


FRAMEWORKS: Mapping[Framework, Row] = {
    Framework.KERAS: Row(
        Rendezvous("tensorflow", 2222),
        strategies=(StrategyType.SINGLE_WORKER, StrategyType.MIRRORED, StrategyType.MULTI_WORKER_MIRRORED),
        formats=tuple(ModelFormat),
    ),
    Framework.SCRIPT: Row(
        Rendezvous("rendezvous", 29500),  # torchrun's port
        strategies=(StrategyType.SINGLE_WORKER, StrategyType.MULTI_WORKER),
        formats=(ModelFormat.TENSORFLOW, ModelFormat.ONNX, ModelFormat.TEXT),
        hands_over=True,
        shares_memory=True,  # PyTorch's DataLoader
    ),
}


def rules() -> tuple[Rule, ...]:
    """What a TrainingJob's spec may ask for with each framework, for the API server."""
    found = []
    for framework, row in FRAMEWORKS.items():
        found.append(
            Rule(
                f"self.framework != '{framework}' || self.strategy.type in {_list(row.strategies)}",
                f"with framework {framework} strategy.type is {_words(row.strategies)}",
                field_path=".strategy.type",
            )
        )
        if set(row.formats) != set(ModelFormat):
            found.append(
                Rule(
                    f"self.framework != '{framework}' || !has(self.output) || !has(self.output.formats) || "
                    f"self.output.formats.all(name, name in {_list(row.formats)})",
                    f"with framework {framework} output.formats are {_words(row.formats)}",
                    field_path=".output.formats",
                )
            )
    return tuple(found)


def _list(names: tuple[StrEnum, ...]) -> str:
    return f"[{', '.join(repr(name.value) for name in names)}]"


def _words(names: tuple[StrEnum, ...]) -> str:
    *most, last = (name.value for name in names)
    return f"{', '.join(most)} or {last}"
