"""Waits for the script's threads, as the interpreter does before it ends: a training in one of them may outlive the
script's last line.

The interpreter waits in its own end only, after which nothing can be exported. What it does there is done here before:
the script's threads are waited for, and those of executors (`concurrent.futures`, joblib's), which wait for more work,
are told by their modules to end when what they have is done. Meanwhile the main thread counts as ended, for threads
that run as long as it does.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_TICK = 0.2
# Set by the end of an executor's module, and undone by nobody: an export may have executors of its own.
_FLAGS = {"concurrent.futures.thread": "_shutdown", "concurrent.futures.process": "_global_shutdown"}


def wait_for_others() -> None:
    """Returns when no thread is left that would keep the process. To be called in the main thread, which takes signals
    meanwhile.
    """
    with _main_thread_counts_as_ended():
        _join(_is_no_executors)
        if any(map(_is_waited_for, threading.enumerate())):
            for end in reversed(_ends_of_executors()):
                end()
            for name, flag in _FLAGS.items():
                if name in sys.modules:
                    setattr(sys.modules[name], flag, False)
            _join(lambda _: True)


def _join(is_meant: Callable[[threading.Thread], bool]) -> None:
    while threads := [thread for thread in threading.enumerate() if _is_waited_for(thread) and is_meant(thread)]:
        threads[0].join(_TICK)


def _is_waited_for(thread: threading.Thread) -> bool:
    return not thread.daemon and thread is not threading.main_thread() and not _waits_for_the_end(thread)


def _ends_of_executors() -> list[Any]:
    """What modules have given the interpreter to be called before it waits for threads; each may be called twice."""
    return list(getattr(threading, "_threading_atexits", ()))


def _is_no_executors(thread: threading.Thread) -> bool:
    modules = {getattr(end, "func", end).__module__ for end in _ends_of_executors()}
    return not modules & {type(thread).__module__, getattr(getattr(thread, "_target", None), "__module__", "")}


def _waits_for_the_end(thread: threading.Thread) -> bool:
    """Whether it stands in a `join` of the main thread, which ends with the process."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code is threading.Thread.join.__code__ and frame.f_locals.get("self") is threading.main_thread():
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def _main_thread_counts_as_ended() -> Iterator[None]:
    main: Any = threading.main_thread()
    main.is_alive = lambda: False
    try:
        yield
    finally:
        del main.is_alive
