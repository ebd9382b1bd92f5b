"""Words to the user, in a process whose standard streams are the script's to replace, to close and to take away."""

from __future__ import annotations

import contextlib
import sys


def say(text: str, *, end: str = "\n") -> None:
    """Writes to stderr: the script's, or the process's own where that cannot be written to. Raises nothing."""
    for stream in (sys.stderr, sys.__stderr__):
        if stream is None:
            continue
        with contextlib.suppress(Exception):
            stream.write(text + end)
            with contextlib.suppress(Exception):
                stream.flush()
            return


def message_of(error: BaseException) -> str:
    """What the exception says of itself."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the script's own __str__
        return "(its __str__ raises)"


def give_back_broken() -> None:
    """Else a stream without a `flush` makes the interpreter end with 120, whatever the script's exit code is."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except Exception:  # noqa: BLE001 - the script's own stream
            setattr(sys, name, getattr(sys, f"__{name}__"))
