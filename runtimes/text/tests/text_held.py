"""The server, whose texts stand still behind HELD_TOKENS for as long as the file $HELD_WHILE is there."""

from __future__ import annotations

import os
import time
from pathlib import Path

from headrace_text import __main__ as program
from headrace_text import batch, texts

HELD_TOKENS = 100


class Held(batch.Batch):
    def advance(self) -> batch.Told:
        while any(one.generation.answered >= HELD_TOKENS for one in self._written) and held_while.exists():
            time.sleep(0.01)
        return super().advance()


if __name__ == "__main__":
    held_while = Path(os.environ["HELD_WHILE"])
    texts.Batch = Held  # type: ignore[misc]
    program.main()
