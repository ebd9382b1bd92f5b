"""What makes an evaluation impossible and is somebody's to correct: told by one sentence, never by a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headrace_common.protocol.reasons import Reason

_NAMED = 20
_LONGEST = 80
_WORDS = 300
# From a quotation mark that no word has before it, to one of its kind that no word has behind it; else to the end.
_QUOTED = re.compile(r"(?<!\w)b?(['\"`])(?:(?:\\.|(?!\1(?!\w)).)*\1(?!\w)|.*)", re.DOTALL)
_NUMBER = re.compile(r"\d{6,}")  # as of a telephone: sizes and places are shorter


class Refusal(Exception):
    """`message` says what is wrong and where, `hint` what to write instead. Neither has a value of a row."""

    def __init__(self, message: str, hint: str, reason: Reason = Reason.EVALUATION_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason


class UnreadableData(Refusal):
    """The rows cannot be read, or are not what was said of them."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint, Reason.DATA_UNREADABLE)


def no_column(where: str, name: str, there: Iterable[object], field: str) -> UnreadableData:
    """`field` of the spec names a column that is none of those that are `there`."""
    return UnreadableData(
        f"{where} has no column {name!r}; it has {listed(there) or 'none'}",
        f"Name a column that is there in {field}, or write {name!r} when the data is prepared.",
    )


def called(dataset: str, path: str) -> str:
    """The rows of an evaluation, in a sentence."""
    return f"dataset {dataset}" + (f", {path}" if path else "")


def listed(names: Iterable[object]) -> str:
    """Names in a sentence, not too many and none too long."""
    found: Sequence[str] = [shortened(str(name)) for name in names]
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def shortened(text: str) -> str:
    """A name as a sentence can hold it."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _LONGEST else f"{one_line[: _LONGEST - 3]}..."


def words_of(error: BaseException) -> str:
    """What a library says, without what it quotes, and without long numbers: these may be of a row."""
    text = " ".join(_NUMBER.sub("...", _QUOTED.sub("...", str(error))).split())[:_WORDS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def of_baseline(refusal: Refusal) -> Refusal:
    """What cannot be done with the baseline is told as that."""
    hint = f"{refusal.hint} Or name another version in evaluate.baseline, or none: the model is then judged alone."
    return Refusal(f"the baseline: {refusal.message}", hint, Reason.BASELINE_UNREADABLE)
