"""Runs the user's script as `__main__`, and tells how it ended.

The script sees what it would see under `python ENTRYPOINT ...`: its own `__main__`, `sys.argv`, its folder first on
`sys.path`. Its exit code passes through, and a traceback shows no frame of this package.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

_OURS = str(Path(__file__).resolve().parent)
_INTERNAL = ("<frozen importlib", "<frozen runpy>")
_TRACEBACK_LINES = 30


@dataclass(frozen=True)
class Ending:
    """How the script ended; `exception` is None when it ended by itself or by SystemExit."""

    exit_code: int
    main: ModuleType
    exception: BaseException | None = None


def run(entrypoint: str, arguments: Sequence[str], scope: AbstractContextManager[object]) -> Ending:
    """Runs the script inside `scope`; whatever it raises has been printed when this returns."""
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
    except KeyboardInterrupt as error:
        _print(error)
        return Ending(130, main, error)
    except BaseException as error:  # noqa: BLE001 - the interpreter's own last handler would take it, too
        _print(error)
        return Ending(1, main, error)
    return Ending(0, main)


def last_lines(error: BaseException) -> str:
    """The end of the traceback as the user sees it."""
    return "\n".join("".join(_own_frames(error).format()).rstrip().splitlines()[-_TRACEBACK_LINES:])


def _exit_code(end: SystemExit) -> int:
    """What the interpreter makes of SystemExit."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _print(error: BaseException) -> None:
    sys.stdout.flush()
    if sys.excepthook is not sys.__excepthook__:
        sys.excepthook(type(error), error, _below_ours(error.__traceback__))
    else:
        print("".join(_own_frames(error).format()), end="", file=sys.stderr, flush=True)


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
