"""From the command line to the exit code of a serving container: the body of each server's __main__.

Exit codes: what serving gave; 2 where the server cannot start, with a termination message that says why.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from headrace_serving.failures import StartError

log = logging.getLogger("headrace_serving")


class Settings(Protocol):
    """What is asked of each server's settings; the digest is empty where it is not known."""

    @property
    def digest(self) -> str: ...


S = TypeVar("S", bound=Settings)


def run(parse: Callable[[Sequence[str]], S], serve: Callable[[S], int]) -> NoReturn:
    """End the process with what `serve` gives for the settings that `parse` finds. Either may raise StartError."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    digest = ""
    try:
        settings = parse(sys.argv[1:])
        digest = settings.digest
        code = serve(settings)
    except StartError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        error.write_termination_message(_termination_log(), digest)
        code = 2
    logging.shutdown()
    # Not sys.exit: it would wait for a run of the model that nobody waits for any more, and cannot interrupt it.
    os._exit(code)


def _termination_log() -> Path:
    return Path(os.environ.get("HEADRACE_TERMINATION_LOG", "/dev/termination-log"))
