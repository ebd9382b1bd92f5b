"""SIGTERM as a question that the training loop asks."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from headrace_client import _followed
from headrace_client._wire import in_job

_requested = threading.Event()
_listens = False


def should_stop() -> bool:
    """Whether the pod is being stopped: preempted, evicted, suspended. Some 15 seconds are left then to keep a
    checkpoint and to end; the exit code does not matter.

    Until it is asked for the first time, in the main thread, SIGTERM ends the script as it does any program. A handler
    of the script's own is left alone; the answer is then always no. Processes that the script forks end by SIGTERM.

    In a job of `framework: Keras` a checkpoint is kept without this, and the process ends at its next step, unless the
    script keeps checkpoints of its own.
    """
    if _followed.follower is not None:
        return _followed.follower.should_stop()
    global _listens
    is_main = threading.current_thread() is threading.main_thread()
    if not _listens and in_job() and is_main:
        _listens = True
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_signal)
            os.register_at_fork(after_in_child=_give_back)
    return _requested.is_set()


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    _requested.set()


def _give_back() -> None:
    if signal.getsignal(signal.SIGTERM) == _on_signal:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
