"""Which model becomes a version: the rule, without Keras.

1. The one that the script has named (`headrace_client.export(model)`).
2. The one of the last `evaluate` after the last training; one whose weights are still those that it was built with is
   passed over, and told.
3. The only candidate. Candidates are the models that were trained, those that were given weights after that and are
   built like a trained one, and those that were built around one of them.
4. Of several candidates none: the script is asked, by the words of the job's end, to name one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A model that could be meant: its name, and where it comes from in a few words."""

    model: Any
    name: str
    origin: str

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"


@dataclass(frozen=True)
class Choice:
    """`chosen` is None where no model was found, or `candidates` are several. `reason` is empty where there was nothing
    to choose.
    """

    chosen: Any
    reason: str
    candidates: tuple[Candidate, ...]


def choose(named: Any, evaluated: Any, candidates: Sequence[Candidate], dropped: int, *, untrained: str = "") -> Choice:
    """`named` and `evaluated` are models or None; `dropped` is how many others were trained that the script no longer
    had when the last training ended, `untrained` the name of the model that was evaluated after all others, and has
    learned nothing.
    """
    others = [candidate for candidate in candidates if candidate.model is not named]
    if named is not None:
        return Choice(named, "named by headrace_client.export" if others or dropped else "", tuple(candidates))
    passed_over = [f"not chosen: {untrained}, which was evaluated last and never trained"] if untrained else []
    if evaluated is not None:
        others = [candidate for candidate in candidates if candidate.model is not evaluated]
        reason = [*_evaluated_last(others, dropped), *passed_over]
        if passed_over and len(reason) == 1:
            reason = ["the model of the last evaluate of a trained one", *reason]
        return Choice(evaluated, "; ".join(reason), tuple(candidates))
    if len(candidates) == 1:
        reason = [f"the only trained model that the script still had; {dropped} more had been trained"] * bool(dropped)
        if passed_over:
            reason = [*(reason or ["the only trained model"]), *passed_over]
        return Choice(candidates[0].model, "; ".join(reason), tuple(candidates))
    return Choice(None, "", tuple(candidates))


def _evaluated_last(others: Sequence[Candidate], dropped: int) -> list[str]:
    if not others and not dropped:
        return []
    more = [str(candidate) for candidate in others] + ([f"{dropped} that the script no longer had"] if dropped else [])
    return [f"the model of the last evaluate; not chosen: {', '.join(more)}"]
