"""How TensorFlow says that another worker is gone."""

from __future__ import annotations

import re
import signal

from headrace_common.protocol.parts import LostPeer
from headrace_trainer.launcher.failures.judge import ChildEnd

# What its collectives say when the other side is gone; none of these comes from a script's own mistake.
_EXCEPTIONS = {"UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError"}
# Of the coordination service, which JAX has too.
COORDINATION = (
    r"coordination (service|agent)|heartbeat timeout|another task died|peer task|unavailable task|"
    r"barrier.{0,40}(failed|error)"
)
_WORDS = re.compile(
    r"socket closed|connection reset by peer|connection refused|failed to connect to all addresses|collective ops is "
    r"aborted|/job:worker/(replica:\d+/)?task:\d+|" + COORDINATION,
    re.IGNORECASE,
)
_TASK = re.compile(r"/job:worker/(?:replica:\d+/)?task:(\d+)")


def lost_peer(end: ChildEnd) -> LostPeer | None:
    """The worker that the end is blamed on, by its words; None where it is not blamed on one."""
    if not _blames_a_peer(end):
        return None
    text = end.log_tail if end.exception is None else f"{end.exception.message}\n{end.log_tail}"
    others = {int(task) for task in _TASK.findall(text) if int(task) != end.worker and int(task) < end.workers}
    return LostPeer(others.pop() if len(others) == 1 else None)


def _blames_a_peer(end: ChildEnd) -> bool:
    if end.exception is not None:
        text = f"{end.exception.message}\n{end.exception.traceback}"
        return end.exception.exception in _EXCEPTIONS and _WORDS.search(text) is not None
    # The coordination service ends the process from native code, with its reason on stderr only.
    return end.exit_code in (1, -signal.SIGABRT) and _WORDS.search(end.log_tail) is not None
