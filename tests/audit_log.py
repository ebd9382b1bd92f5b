"""The API server's audit log, as a test reads it while it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace_local.controlplane import ControlPlane


class AuditLog:
    """Read on from where the last reading ended."""

    def __init__(self, plane: ControlPlane) -> None:
        """Raises AssertionError for a control plane that writes none."""
        assert plane.audit_log is not None
        self._path: Path = plane.audit_log
        self._read = 0
        self._entries: list[dict[str, Any]] = []

    def entries(self) -> list[dict[str, Any]]:
        """All that was logged so far, in the log's order."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        # The last line may be half written.
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._entries += [json.loads(line) for line in whole.splitlines()]
        return self._entries
