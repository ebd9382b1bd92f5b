"""Waiting for kinds that were just installed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from headrace_local.controlplane import ControlPlane

SECONDS = 60.0


def established(plane: ControlPlane, *what: str | Path, stdin: str | None = None) -> None:
    """Wait until the definitions, named as `kubectl wait` has them, are established.

    kubectl gives up at once where one has no conditions yet, which on a busy machine it has a moment later.
    """
    command = [plane.kubectl, "--kubeconfig", plane.kubeconfig, "wait", "--for=condition=Established", "--timeout=30s"]
    deadline = time.monotonic() + SECONDS
    while True:
        done = subprocess.run([*command, *what], input=stdin, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return
        has_none_yet = "accessor error" in done.stderr and time.monotonic() < deadline
        assert has_none_yet, f"{' '.join(map(str, what))}: {done.stderr}"
        time.sleep(0.2)
