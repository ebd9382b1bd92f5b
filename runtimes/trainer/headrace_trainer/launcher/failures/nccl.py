"""What to try where NCCL, which connects NVIDIA's GPUs, is what a script ended with: its own words name neither the
network nor the shared memory that it lacked.
"""

from __future__ import annotations

import re
from dataclasses import replace

from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import ChildEnd, Failure

_REASONS = (Reason.SCRIPT_RAISED, Reason.SCRIPT_EXITED, Reason.PEER_LOST)
_NCCL = re.compile(r"\bNCCL\b|\bnccl[A-Z]\w+")
_LAST_LINES = 12
_HINT = (
    "NCCL connects the GPUs: with NCCL_DEBUG=INFO among podTemplate's variables the log says what it tried. "
    "NCCL_SOCKET_IFNAME names the network between pods; /dev/shm is limited by spec.resources.limits.memory."
)


def advised(failure: Failure | None, end: ChildEnd) -> Failure | None:
    """The failure, with more of a hint where its cause lies with NCCL."""
    if failure is None or failure.reason not in _REASONS or not _NCCL.search(_said(end)):
        return failure
    return replace(failure, hint=f"{_HINT} {failure.hint}".strip())


def _said(end: ChildEnd) -> str:
    raised = end.exception or end.in_log
    return raised.message if raised is not None else "\n".join(end.log_tail.splitlines()[-_LAST_LINES:])
