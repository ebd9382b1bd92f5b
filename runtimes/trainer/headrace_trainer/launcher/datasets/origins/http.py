"""What every place that is read by HTTP has to do with: answers that do not come, or break off."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.origins.waiting import Waiting
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store import untrusted

T = TypeVar("T")

READ_SECONDS = 20.0
CHUNK_BYTES = 1 << 20
_FINAL = (http.client.NOT_IMPLEMENTED, http.client.HTTP_VERSION_NOT_SUPPORTED)


def is_worth_another_try(status: int) -> bool:
    """Of an answer that is an error: whether the server may answer the same request well, later."""
    return status in (408, 425, 429) or (status >= 500 and status not in _FINAL)


class TryAgain(Exception):
    """The server did not answer, or broke off."""


def patiently(work: Callable[[], T], waiting: Waiting, where: str, away: Callable[[TryAgain], Failure]) -> T:
    """What `work` gives, which is tried again while there is time. Raises Failed with what `away` makes of the last
    TryAgain, and at once where the server's certificate is not trusted: it is the same one the next time.
    """
    has_told = False
    while True:
        try:
            return work()
        except TryAgain as error:
            if isinstance(reason_of(error.__cause__), ssl.SSLCertVerificationError):
                raise Failed(
                    Failure(Reason.DATASET_FORBIDDEN, f"{where}: {error}", untrusted.hint("SSL_CERT_FILE"))
                ) from error
            if not has_told:
                log(f"{where} does not answer, trying again: {error}")
            has_told = True
            if waiting.is_over():
                raise Failed(away(error)) from error


def read_some(answer: Any, most: int = CHUNK_BYTES) -> bytes:
    """The next bytes of an answer, none at its end. Raises TryAgain."""
    try:
        data: bytes = answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise TryAgain(cause(error)) from error
    return data


def reason_of(error: BaseException | None) -> object:
    """What urllib has wrapped."""
    return getattr(error, "reason", error)


def cause(error: Exception) -> str:
    """Without the address."""
    reason = reason_of(error)
    return f"{type(reason).__name__}: {reason}"
