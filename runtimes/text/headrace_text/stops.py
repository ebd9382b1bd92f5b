"""Texts at which an answer ends: they are looked for across tokens, and never reach the client in part."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Of one answer. What might be the beginning of a stop text is held back until it is known."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """What may be sent of the answer with `text` behind it, and whether it ends here."""
        if not self._texts:
            return text, False
        held = self._held + text
        places = [place for stop in self._texts if (place := held.find(stop)) >= 0]
        if places:
            self._held = ""
            return held[: min(places)], True
        keep = self._longest_beginning(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def rest(self) -> str:
        """What was held back, once nothing follows."""
        held, self._held = self._held, ""
        return held

    def _longest_beginning(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a stop text."""
        longest = max(len(stop) for stop in self._texts) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._texts):
                return length
        return 0
