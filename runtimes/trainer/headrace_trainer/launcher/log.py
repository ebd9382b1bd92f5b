"""The launcher's own lines in the pod's log: few, and marked, so that they are not taken for the script's."""

from __future__ import annotations

import sys


def log(text: str) -> None:
    """One line to stderr."""
    sys.stderr.write(f"headrace: {text}\n")
    sys.stderr.flush()
