"""Runs uv: bounded in time, stoppable from another thread, its words free of passwords, and judged by what they say.

uv ends with 1 where the answer is no (no such version, a conflict, a build that failed), and with 2 where it could not
find out: the index is away, or the file cannot be read. Which of the two its words say, and whether somebody answers
there who lets nobody in: that stays as it is, however often it is asked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace_trainer.launcher.failures.judge import Failed, bad_config, packages_not_installed
from headrace_trainer.launcher.log import log

_AWAY = re.compile(
    r"^\s*(?:error|cause): (?:Request failed after|Failed to fetch|error sending request|error decoding response body"
    r"|HTTP status server error|.*\(429 )",
    re.MULTILINE,
)
# Who lets nobody in, and what to do about it.
_REFUSALS = (
    (
        re.compile("invalid peer certificate"),
        "The image does not know the CA of the index or of a proxy before it: set SSL_CERT_FILE in podTemplate to a "
        "file with that CA's certificate (docs/how-to/packages.md).",
    ),
    (
        re.compile(r"\(407 |proxy authorization required"),
        "The proxy wants a user and a password: set HTTPS_PROXY in podTemplate to http://USER:PASSWORD@HOST:PORT, from "
        "a Secret, or name an index that needs no proxy.",
    ),
    (
        re.compile(r"\b401 Unauthorized|\b403 Forbidden"),
        "The index does not let this user in: check the user, the password and the URL, in the Secret that "
        "UV_DEFAULT_INDEX comes from, or in --index-url (docs/how-to/packages.md).",
    ),
)
# `//user:password@`, and what may have been meant as one: after `//`, a colon that no port follows.
_CREDENTIALS = re.compile(r"(?<=//)(?:\S*@|[^\s/:@]*:(?!\d+(?:[^\w]|$))\S*)")
_SAID = re.compile(r"^\s*(?:error|cause|hint):\s*", re.MULTILINE)
_MOST_WORDS = 700


class IndexAway(Exception):
    """The package index does not answer, or answers 5xx; the message is uv's."""


class Ended(Exception):
    """Somebody called `stop`."""


class Uv:
    """One call after the other, of one pod."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()

    def run(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, seconds: float) -> str:
        """Run `uv ARGUMENTS`, its output into the log; what it said. Raises IndexAway, Failed (PackagesNotInstalled),
        Ended.
        """
        code, said = self._execute(arguments, env, cwd, seconds)
        for line in said.splitlines():
            log(f"uv: {line}")
        if code is None:
            raise Failed(packages_not_installed("it took too long, and was ended"))
        if code in (1, 2) and (hint := _hint_of_refusal(said)):
            raise Failed(packages_not_installed(_words(said), hint))
        if code == 2 and _AWAY.search(said):
            raise IndexAway(_words(said))
        if code < 0:
            raise Failed(
                packages_not_installed(f"{signal.Signals(-code).name} ended uv: is resources.limits.memory low?")
            )
        if code != 0:
            raise Failed(packages_not_installed(_words(said) or f"uv ended with exit code {code}"))
        return said

    def stop(self) -> None:
        """End the one that runs, and start no other."""
        self._stopped.set()
        with self._lock:
            if self._process is not None:
                _end(self._process)

    def rest(self, seconds: float) -> None:
        """Wait. Raises Ended."""
        if self._stopped.wait(seconds):
            raise Ended

    def _execute(
        self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, seconds: float
    ) -> tuple[int | None, str]:
        """The exit code (None: it was ended because it took too long), and what it said."""
        program = _program()
        with self._lock:
            if self._stopped.is_set():
                raise Ended
            process = self._process = subprocess.Popen(
                [program, *arguments],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        try:
            said, _ = process.communicate(timeout=max(seconds, 0.0))
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            _end(process)
            said, code = process.communicate()[0], None
        finally:
            with self._lock:
                self._process = None
        if self._stopped.is_set():
            raise Ended
        return code, redacted(said)


def redacted(text: str) -> str:
    """Without the users and passwords of URLs."""
    return _CREDENTIALS.sub("***@", text)


def _hint_of_refusal(said: str) -> str:
    return next((hint for words, hint in _REFUSALS if words.search(said)), "")


def _program() -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if found := shutil.which("uv", path=path):
        return found
    raise Failed(
        bad_config(
            "the source has a requirements.txt, and the image has no uv to install it with",
            "Build the image FROM the trainer image of this release, or `pip install uv` in it.",
        )
    )


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _words(said: str) -> str:
    """What the error says, on one line. Of a long one, such as a compiler's, its beginning and its end."""
    _, found, error = said.partition("error: ")
    text = " ".join(_SAID.sub("; ", error if found else said).split()).replace(" ; ", "; ").strip("; ")
    half = _MOST_WORDS // 2
    return text if len(text) <= _MOST_WORDS else f"{text[:half]} ... {text[-half:]}"
