"""Whether clients get through: a service that has just got its route is not known to the gateway at once."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

SECONDS = 30.0
PAUSE_SECONDS = 0.5


class NoAnswer(Exception):
    """The gateway does not answer for the service in time; the message has what it said last."""


def await_answer(url: str, *, seconds: float = SECONDS, pause: float = PAUSE_SECONDS) -> None:
    """Returns when `url`, where a served model tells of itself, is answered. Raises NoAnswer."""
    deadline = time.monotonic() + seconds
    while (problem := _problem(url)) is not None:
        if time.monotonic() > deadline:
            raise NoAnswer(f"{url} is not answered: {problem}")
        time.sleep(pause)


def _problem(url: str) -> str | None:
    """As a client would see it, through the proxies of the environment, too."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    except ValueError as error:  # no waiting makes a URL of it
        raise NoAnswer(str(error)) from error
