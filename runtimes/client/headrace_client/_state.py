"""What this process has said so far."""

from __future__ import annotations

step = 0
epoch = 1  # from 1
total: tuple[int | None, int | None] = (None, None)  # steps, epochs
