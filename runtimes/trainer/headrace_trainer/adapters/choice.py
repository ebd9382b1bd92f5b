"""Which model becomes a version: the rule, without Keras.

1. The one that the script has named (`headrace_client.export(model)`).
2. The one of the last `evaluate` after the last training; one whose weights are still those that it was built with, or
   those of a file that was there before the job, is passed over, and told.
3. The only candidate. Candidates are the models that were trained, those that were given weights after that and are
   built like a trained one, and those that were built around one of them. Where nothing was trained in the script's own
   process, those that were loaded from files of the job, and evaluated.
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
    to choose; where no model was found it says which was not chosen.
    """

    chosen: Any
    reason: str
    candidates: tuple[Candidate, ...]


def choose(
    named: Any,
    evaluated: Any,
    candidates: Sequence[Candidate],
    dropped: int,
    *,
    untrained: str = "",
    references: Sequence[Candidate] = (),
    trained_on: bool = False,
) -> Choice:
    """`named` and `evaluated` are models or None; `dropped` is how many others were trained that the script no longer
    had when the last training ended, `untrained` the name of the model that was evaluated after all others, and has
    learned nothing. `references` were evaluated, and are none of the job's. `trained_on`: the named one was trained
    further after that.
    """
    others = [candidate for candidate in candidates if candidate.model is not named]
    if named is not None:
        reason = _NAMED if others or dropped or trained_on else ""
        return Choice(named, reason + _AS_IT_WAS * trained_on, tuple(candidates))
    passed_over = [f"not chosen: {one.name}, {one.origin}, which this job did not write" for one in references]
    passed_over += [f"not chosen: {untrained}, which was evaluated last and never trained"] if untrained else []
    if evaluated is not None:
        others = [candidate for candidate in candidates if candidate.model is not evaluated]
        told = _evaluated_last(others, dropped)
        if passed_over and not told:
            told = ["the model of the last evaluate of a trained one"]
        return Choice(evaluated, "; ".join([*told, *passed_over]), tuple(candidates))
    if len(candidates) == 1:
        told = [f"the only trained model that the script still had; {dropped} more had been trained"] * bool(dropped)
        if passed_over and not told:
            told = ["the only trained model"]
        return Choice(candidates[0].model, "; ".join([*told, *passed_over]), tuple(candidates))
    return Choice(None, "" if candidates else "; ".join(passed_over[: len(references)]), tuple(candidates))


_NAMED = "named by headrace_client.export"
_AS_IT_WAS = ", and registered with the weights that it had then: it was trained further after that"


def _evaluated_last(others: Sequence[Candidate], dropped: int) -> list[str]:
    if not others and not dropped:
        return []
    more = [str(candidate) for candidate in others] + ([f"{dropped} that the script no longer had"] if dropped else [])
    return [f"the model of the last evaluate; not chosen: {', '.join(more)}"]
