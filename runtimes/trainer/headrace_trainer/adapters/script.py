"""Runs the user's script as `__main__`, and tells how it ended.

The script sees what it would see under `python ENTRYPOINT ...`: its own `__main__`, `sys.argv`, its folder first on
`sys.path`. Its exit code passes through, and a traceback shows no frame of this package.
"""

from __future__ import annotations

import builtins
import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

from headrace_trainer.adapters.streams import message_of, say

_OURS = str(Path(__file__).resolve().parent)
_INTERNAL = ("<frozen importlib", "<frozen runpy>")
_TRACEBACK_LINES = 30
_MOST_FRAMES = 100
_BEYOND_LONG = 2**63


@dataclass(frozen=True)
class Ending:
    """How the script ended; `exception` is None when it ended by itself or by SystemExit."""

    exit_code: int
    main: ModuleType
    exception: BaseException | None = None


def run(
    entrypoint: str,
    arguments: Sequence[str],
    scope: AbstractContextManager[object],
    tell: Callable[[BaseException], None] = lambda error: None,
) -> Ending:
    """Runs the script inside `scope`. Whatever it raises is given to `tell` and then printed, in the way that the
    script may have chosen, before this returns.
    """
    path = Path(entrypoint).resolve()
    main = ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv = [entrypoint, *arguments]
    sys.path[0] = str(path.parent)
    try:
        # Else this module's own `from __future__ import annotations` would be the script's, too.
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        with scope:
            exec(code, main.__dict__)
    except SystemExit as end:
        return Ending(_exit_code(end), main)
    except BaseException as error:  # noqa: BLE001 - the interpreter's own last handler would take it, too
        tell(error)
        code_of_hook = _print(error)
        interrupted = isinstance(error, KeyboardInterrupt) and code_of_hook == 1
        return Ending(130 if interrupted else code_of_hook, main, error)
    return Ending(0, main)


def last_lines(error: BaseException) -> str:
    """The end of the traceback as the user sees it."""
    return "\n".join(_traceback_of(error).rstrip().splitlines()[-_TRACEBACK_LINES:])


def frames_of(error: BaseException) -> list[tuple[str, int]]:
    """Files and lines of the traceback, the outermost first; of a very long one the ends."""
    frames, found = _below_ours(error.__traceback__), []
    while frames is not None:
        found.append((frames.tb_frame.f_code.co_filename, frames.tb_lineno))
        frames = frames.tb_next
    return found if len(found) <= _MOST_FRAMES else found[: _MOST_FRAMES // 2] + found[-_MOST_FRAMES // 2 :]


def _exit_code(end: SystemExit) -> int:
    """What the interpreter makes of SystemExit."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF if -_BEYOND_LONG <= end.code < _BEYOND_LONG else 0xFF
    try:
        text = str(end.code)
    except BaseException:  # noqa: BLE001 - the script's own __str__
        return 1
    say(text)
    return 1


def _print(error: BaseException) -> int:
    """As the interpreter does; the result is the exit code."""
    with contextlib.suppress(Exception):  # a stream of the script's own, or none
        sys.stdout.flush()
    hook = getattr(sys, "excepthook", None)
    if hook is sys.__excepthook__:
        say(_traceback_of(error), end="")
        return 1
    try:
        hook(type(error), error, _below_ours(error.__traceback__))  # type: ignore[misc]
    except SystemExit as end:
        return _exit_code(end)
    except BaseException as of_hook:  # noqa: BLE001 - the script's own hook
        hooks, own = _traceback_of(of_hook), _traceback_of(error)
        say(f"Error in sys.excepthook:\n{hooks}\nOriginal exception was:\n{own}", end="")
    return 1


def _traceback_of(error: BaseException) -> str:
    try:
        return "".join(_own_frames(error).format())
    except Exception:  # noqa: BLE001 - made of what the script's exception says of itself
        return f"{type(error).__name__}: {message_of(error)}\n"


def _below_ours(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _own_frames(error: BaseException) -> traceback.TracebackException:
    whole = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack[:] = [frame for frame in part.stack if not _is_ours(frame.filename)]
            pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or [])]
    return whole


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, *_INTERNAL))
