"""The launcher's own lines in the pod's log: few, and marked, so that they are not taken for the script's."""

from __future__ import annotations

import sys
import traceback


def log(text: str) -> None:
    """One line to stderr."""
    sys.stderr.write(f"headrace: {text}\n")
    sys.stderr.flush()


def unforeseen(error: Exception) -> str:
    """What is said of an error that nobody expected, in what is worth no failure; where it came from is in the log."""
    traceback.print_exception(error)
    return f"a fault of Headrace, please report it with the pod's log: {type(error).__name__}: {error}"
