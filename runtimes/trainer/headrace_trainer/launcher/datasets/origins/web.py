"""https://HOST/PATH: one file, whose sha256 is known beforehand; nothing else tells its bytes from others.

What broke off goes on where it was, where the server can say that it is still the same file; else from the start.
Redirects are followed to https:// alone. The environment's proxies (HTTPS_PROXY) and certificates (SSL_CERT_FILE)
count.
What comes after a `?` may be a key: no text of ours has it.
"""

from __future__ import annotations

import http.client
import os
import re
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import (
    Object,
    address_of,
    cannot_be_written,
    forbidden,
    not_found,
    written_whole,
)
from headrace_trainer.launcher.datasets.origins.http import (
    READ_SECONDS,
    TryAgain,
    cause,
    is_worth_another_try,
    patiently,
    read_some,
)
from headrace_trainer.launcher.datasets.origins.waiting import Waiting
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log

SCHEME = "https://"
_TELL_SECONDS = 10.0
_REDIRECTS = 5
_FROM = re.compile(r"bytes (\d+)-(?:\d+/(\d+))?")
_HINT = (
    "Correct the address in a new TrainingJob. No credentials are sent to https:// addresses: what needs some belongs "
    "into a bucket."
)


@dataclass
class _Part:
    """What there is of a file: so many bytes, of the one that `validator` names ("" where the server names none)."""

    file: IO[bytes]
    had: int = 0
    validator: str = ""
    whole: int | None = None

    def begin_anew(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.had = 0


class Web:
    """Any server."""

    def __init__(self, outage_seconds: float) -> None:
        self._outage_seconds = outage_seconds
        self._opener = urllib.request.build_opener(_Redirects)

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        """Nobody is asked: what it is its digest says."""
        return (Object(dataset.uri, "", 0, dataset.digest),)

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        with written_whole(dataset, target) as file:
            self._fetch(dataset, _Part(file))

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        raise RuntimeError("a file of the web is not streamed: its digest is that of the whole")

    def _fetch(self, dataset: Dataset, part: _Part) -> None:
        waiting = Waiting(self._outage_seconds)
        where = f"dataset {dataset.name}: {address_of(dataset)}"
        patiently(lambda: self._go_on(dataset, part, waiting), waiting, where, lambda error: _away(dataset, error))

    def _go_on(self, dataset: Dataset, part: _Part, waiting: Waiting) -> None:
        """From where it broke off to its end."""
        if not part.validator:
            part.begin_anew()
        headers = {"Accept-Encoding": "identity", "User-Agent": "headrace"}
        if part.had:
            headers |= {"Range": f"bytes={part.had}-", "If-Range": part.validator}
        try:
            answer = self._opener.open(
                urllib.request.Request(_in_ascii(dataset), headers=headers), timeout=READ_SECONDS
            )
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.had:
                part.validator = ""  # there is no rest of what there is
            else:
                _raise_if_refused(dataset, error)
            raise TryAgain(f"it answers {error.code}") from None
        except (ValueError, http.client.InvalidURL):  # of a host's name, here or where a redirect leads
            raise Failed(forbidden(dataset, f"{address_of(dataset)}: there is no host of such a name", _HINT)) from None
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain(cause(error)) from error
        with answer:
            _take_up(part, answer.status, answer.headers)
            _check_room(dataset, part)
            self._pour(dataset, answer, part, waiting)

    def _pour(self, dataset: Dataset, answer: Any, part: _Part, waiting: Waiting) -> None:
        told_at = time.monotonic()
        while data := read_some(answer):
            part.file.write(data)
            part.had += len(data)
            waiting.came(part.had)
            if time.monotonic() - told_at >= _TELL_SECONDS:
                told_at = time.monotonic()
                of = "" if part.whole is None else f" of {part.whole / 1e6:.1f}"
                log(f"dataset {dataset.name}: {part.had / 1e6:.1f}{of} MB")
        if part.whole is not None and part.had < part.whole:
            raise TryAgain(f"it broke off after {part.had} of {part.whole} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith(SCHEME):
            raise urllib.error.HTTPError(req.full_url, code, "it leads to an address that is not https://", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _in_ascii(dataset: Dataset) -> str:
    """Its path as a request has it. A host's name is the standard library's matter."""
    host, slash, path = dataset.uri.removeprefix(SCHEME).partition("/")
    return f"{SCHEME}{host}{slash}{urllib.parse.quote(path, safe=string.punctuation)}"


def _take_up(part: _Part, status: int, headers: Mapping[str, str]) -> None:
    """What the answer is of: the rest of what there is, or the whole from its start."""
    came_from = _FROM.match(headers.get("Content-Range", "")) if status == 206 else None
    if came_from is None or int(came_from[1]) != part.had:
        part.begin_anew()
        if status == 206:
            part.validator = ""
            raise TryAgain("it sent another part than it was asked for")
    length = headers.get("Content-Length", "")
    if came_from is not None and came_from[2]:  # what was sent may be less than what was asked for
        part.whole = int(came_from[2])
    else:
        part.whole = part.had + int(length) if length.isdecimal() else None
    tag = headers.get("ETag", "")
    part.validator = tag if tag and not tag.startswith("W/") else ""


def _check_room(dataset: Dataset, part: _Part) -> None:
    """Before a disk is filled with what does not fit."""
    room = os.fstatvfs(part.file.fileno())
    free, missing = room.f_bavail * room.f_frsize, (part.whole or 0) - part.had
    if missing > free:
        problem = OSError(f"it has {part.whole} bytes, and the disk has room for {free}")
        raise Failed(cannot_be_written(dataset, dataset.path, problem))


def _raise_if_refused(dataset: Dataset, error: urllib.error.HTTPError) -> None:
    """Nothing is raised for what is worth another try."""
    if error.code in (404, 410):
        raise Failed(not_found(dataset, f"the server answers {error.code}")) from None
    if not is_worth_another_try(error.code):
        why = f"the server answers {error.code}"
        if 300 <= error.code < 400:
            why = f"it is redirected more than {_REDIRECTS} times, in a circle, or to what is not {SCHEME}"
        raise Failed(forbidden(dataset, f"{address_of(dataset)}: {why}", _HINT)) from None


def _away(dataset: Dataset, error: Exception) -> Failure:
    return Failure(
        Reason.STORAGE_UNAVAILABLE,
        f"dataset {dataset.name}: {address_of(dataset)} did not answer in time: {error}",
        "Look whether the address can be reached from the cluster (a proxy, its certificates); the next attempt tries "
        "again.",
    )
