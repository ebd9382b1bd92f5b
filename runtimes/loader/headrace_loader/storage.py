"""The only room that talks to S3: one read at a time, resumed where it broke off, as long as the deadline allows."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Meaning, client, meaning_of, status_and_code
from headrace_loader.failures import LoadError, Reason

log = logging.getLogger("headrace_loader")

CHUNK_BYTES = 1024 * 1024
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0

_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class ObjectNotFound(Exception):
    """There is no object of this key."""


class Interrupted(Exception):
    """Storage did not answer, or broke off: worth another try."""


@dataclass(frozen=True)
class ObjectTail:
    """An object's bytes from an offset on, and the size of the whole object."""

    size: int
    chunks: Iterator[bytes]


class ObjectStore(Protocol):
    def read(self, key: str, offset: int) -> ObjectTail:
        """Raises ObjectNotFound, Interrupted, LoadError; so does iterating over the chunks."""


class S3Store:
    """A bucket, read with the credentials in the environment; without a storage it is AWS'."""

    def __init__(self, bucket: str, storage: Storage | None) -> None:
        self._bucket = bucket
        self._client = _client(storage or Storage("", ""))

    def read(self, key: str, offset: int) -> ObjectTail:
        arguments = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **arguments)
        except ClientError as error:
            raise self._meaning(error, key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise LoadError(
                Reason.STORAGE_FORBIDDEN,
                f"There are no credentials to read s3://{self._bucket} with.",
                "Name a Secret in spec.storage.secretRef, or give the service account a workload identity.",
            ) from error
        except (ConnectionError, HTTPClientError, ResponseParserError, CredentialRetrievalError) as error:
            raise Interrupted(str(error)) from error
        except BotoCoreError as error:
            raise LoadError(
                Reason.BAD_CONFIG, f"Storage cannot be asked for s3://{self._bucket}/{key}: {error}.", "Check the uri."
            ) from error
        return ObjectTail(size=_whole_size(answer), chunks=_chunks(answer["Body"]))

    def _meaning(self, error: ClientError, key: str) -> Exception:
        (status, code), meaning = status_and_code(error), meaning_of(error)
        if meaning is Meaning.NO_BUCKET:
            return LoadError(
                Reason.BUCKET_NOT_FOUND,
                f"There is no bucket {self._bucket!r}.",
                "Check the uri of the model and the endpoint of the storage.",
            )
        if meaning is Meaning.NO_OBJECT or status in (404, 416):
            return ObjectNotFound(key)
        if meaning is Meaning.TRY_AGAIN:
            return Interrupted(f"storage answered {status} {code}")
        if status in (401, 403):
            return LoadError(
                Reason.STORAGE_FORBIDDEN,
                f"Storage refused to hand out s3://{self._bucket}/{key}: {status} {code}.",
                "The credentials of spec.storage.secretRef need s3:GetObject there (a missing object is refused too"
                " where s3:ListBucket is not granted).",
            )
        return LoadError(
            Reason.STORAGE_UNAVAILABLE,
            f"Storage answered {status} {code} for s3://{self._bucket}/{key}.",
            "Check storage.endpoint and storage.region.",
        )


def read_object(
    store: ObjectStore, key: str, *, deadline_seconds: float, expected_size: int | None = None, max_size: int
) -> Iterator[bytes]:
    """The object's bytes in pieces; a broken read goes on at the byte where it broke.

    Gives up when no byte has come for `deadline_seconds`. Raises ObjectNotFound, LoadError(StorageUnavailable, …), and
    LoadError(FileCorrupt) or LoadError(TooLarge) as soon as the object's size is known to be wrong.
    """
    offset = 0
    pause = FIRST_PAUSE_SECONDS
    last_progress = time.monotonic()
    while True:
        try:
            tail = store.read(key, offset)
            _check_size(key, tail.size, expected_size, max_size)
            for chunk in tail.chunks:
                offset += len(chunk)
                last_progress = time.monotonic()
                pause = FIRST_PAUSE_SECONDS
                yield chunk
            if offset >= tail.size:
                return
            problem = f"it ended after {offset} of {tail.size} bytes"
        except Interrupted as interruption:
            if expected_size is not None and 0 < expected_size == offset:
                return
            problem = str(interruption)
        waited = time.monotonic() - last_progress
        if waited + pause > deadline_seconds:
            raise LoadError(
                Reason.STORAGE_UNAVAILABLE,
                f"Reading {key} failed for {waited:.0f} s: {problem}.",
                "Storage is tried again when the pod restarts; check that storage.endpoint can be reached from this"
                " namespace.",
            )
        log.warning("reading %s: %s; next try in %.2f s at byte %d", key, problem, pause, offset)
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _check_size(key: str, size: int, expected: int | None, maximum: int) -> None:
    if expected is not None and size != expected:
        raise LoadError(
            Reason.FILE_CORRUPT,
            f"{key} has {size} bytes; the manifest says {expected}.",
            "The file was changed after the export: train again, or point spec.model at another version.",
        )
    if size > maximum:
        raise LoadError(
            Reason.TOO_LARGE,
            f"{key} has {size} bytes; the limit is {maximum}.",
            "Check that spec.model points at the right model: larger files are not served.",
        )


def _client(storage: Storage) -> Any:
    try:
        return client(storage.endpoint, storage.region)
    except (BotoCoreError, ValueError) as error:
        raise LoadError(
            Reason.BAD_CONFIG, f"No client for the storage: {error}.", "Check storage.endpoint and storage.region."
        ) from error


def _whole_size(answer: Any) -> int:
    total = _TOTAL.fullmatch(answer.get("ContentRange") or "")
    return int(total.group(1)) if total else int(answer["ContentLength"])


def _chunks(body: Any) -> Iterator[bytes]:
    with closing(body):
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
            raise Interrupted(str(error)) from error
