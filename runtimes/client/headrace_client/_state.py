"""What this process has said so far."""

from __future__ import annotations

from headrace_client._wire import variable

step = int(variable("HEADRACE_RESUME_STEP") or 0)  # of the last message, or of the checkpoint that is gone on from
epoch = 1  # from 1
total: tuple[int | None, int | None] = (None, None)  # steps, epochs
