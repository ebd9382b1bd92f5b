"""The only room that talks to S3: one request, and what its answer means. How it is tried again is `reading`'s."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
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
from headrace_common.s3 import Meaning, bare_tag, client, meaning_of, status_and_code
from headrace_loader.failures import CHANGED_AFTER_EXPORT, LoadError, Reason

CHUNK_BYTES = 256 * 1024

_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class ObjectNotFound(Exception):
    """There is no object of this key."""


class Interrupted(Exception):
    """Storage did not answer, or broke off: worth another try."""


@dataclass(frozen=True)
class ObjectPart:
    """Bytes of an object, to be closed; `size` and `tag`, its ETag without quotes or "", are of the whole object."""

    size: int
    tag: str
    chunks: Iterator[bytes]
    close: Callable[[], None]


class ObjectStore(Protocol):
    def read(self, key: str, begin: int, end: int | None) -> ObjectPart:
        """The bytes from `begin` up to `end`, or to the object's own end. Thread-safe. Raises ObjectNotFound,
        Interrupted, LoadError; so does iterating over the chunks.
        """


class S3Store:
    """A bucket, read with the credentials in the environment; without a storage it is AWS'."""

    def __init__(self, bucket: str, storage: Storage | None) -> None:
        self._bucket = bucket
        self._client = _client(bucket, storage or Storage("", ""))

    def read(self, key: str, begin: int, end: int | None) -> ObjectPart:
        last = "" if end is None else end - 1
        arguments = {"Range": f"bytes={begin}-{last}"} if begin or end is not None else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **arguments)
        except ClientError as error:
            raise self._meaning(error, key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise _without_keys(self._bucket, error) from error
        except (ConnectionError, HTTPClientError, ResponseParserError, CredentialRetrievalError) as error:
            raise Interrupted(str(error)) from error
        except BotoCoreError as error:
            raise LoadError(
                Reason.BAD_CONFIG, f"Storage cannot be asked for s3://{self._bucket}/{key}: {error}.", "Check the uri."
            ) from error
        body = answer["Body"]
        return ObjectPart(_whole_size(answer), bare_tag(answer.get("ETag") or ""), _chunks(body), body.close)

    def _meaning(self, error: ClientError, key: str) -> Exception:
        (status, code), meaning = status_and_code(error), meaning_of(error)
        if meaning is Meaning.NO_BUCKET:
            return LoadError(
                Reason.BUCKET_NOT_FOUND,
                f"There is no bucket {self._bucket!r}.",
                "Check the uri of the model and the endpoint of the storage.",
            )
        if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return LoadError(
                Reason.FILE_CORRUPT, f"{key} in storage is shorter than the manifest says.", CHANGED_AFTER_EXPORT
            )
        if meaning is Meaning.NO_OBJECT or status == http.client.NOT_FOUND:
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


def _without_keys(bucket: str, error: Exception) -> LoadError:
    return LoadError(
        Reason.STORAGE_FORBIDDEN,
        f"There are no credentials to read s3://{bucket} with: {error}.",
        "The Secret that spec.storage.secretRef.name names needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: run"
        " `headrace tenant add` for its namespace, and name headrace-storage-read there; without a Secret, the service"
        " account needs a workload identity.",
    )


def _client(bucket: str, storage: Storage) -> Any:
    try:
        return client(storage.endpoint, storage.region)
    except PartialCredentialsError as error:
        raise _without_keys(bucket, error) from error
    except (BotoCoreError, ValueError) as error:
        raise LoadError(
            Reason.BAD_CONFIG, f"No client for the storage: {error}.", "Check storage.endpoint and storage.region."
        ) from error


def _whole_size(answer: Any) -> int:
    total = _TOTAL.fullmatch(answer.get("ContentRange") or "")
    return int(total.group(1)) if total else int(answer["ContentLength"])


def _chunks(body: Any) -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(CHUNK_BYTES)
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
        raise Interrupted(str(error)) from error
