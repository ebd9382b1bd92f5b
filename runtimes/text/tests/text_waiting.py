"""What a test waits for, for as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving_support import PATIENCE_SECONDS

# Tokens of a text that takes seconds to write, of the model that ends none.
LONGEST = 19_000


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
