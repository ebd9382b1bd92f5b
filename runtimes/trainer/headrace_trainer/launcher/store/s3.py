"""The S3 store: a few operations with patience, and errors that mean something.

While the store does not answer, a call tries again with growing pauses until its patience ends; `away` says so
meanwhile. What the store refuses is not tried again.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import READ_SECONDS, Meaning, Place, client, meaning_of, status_and_code
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store import parts, untrusted

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_CHUNK = 1 << 20
_TIME = "time:"  # of a version that is no ETag
_SLOW_SECONDS = 300.0  # a store that puts the parts of a large object together by copying them


class NotFound(Exception):
    """There is no such object."""


class TooLarge(ValueError):
    """An object has more bytes than one of its kind has."""


class GivenUp(Exception):
    """The caller lost interest while the store was away."""


@dataclass(frozen=True)
class Listed:
    """One object; `size` in bytes. `version` is another one whenever other bytes were written: its ETag, or the time
    where the store has none.
    """

    key: str
    size: int
    version: str


@dataclass(frozen=True)
class Patience:
    """How many seconds a store may be away, from a call's first failure on, and whether the caller still wants it."""

    seconds: float
    is_wanted: Callable[[], bool] = lambda: True


class Store:
    """Thread-safe. Every method raises Failed (Storage…) where the store refuses or stays away, NotFound where
    nothing is there.
    """

    def __init__(self, storage: Storage, *, has_answered: bool = False) -> None:
        """`has_answered`: to an earlier attempt of the job."""
        self._storage = storage
        self._lock = threading.Lock()
        self._made: dict[float, Any] = {}
        self.away = False
        self.outages = 0
        # A certificate that was good before is an outage: somebody is renewing it.
        self._has_answered = has_answered

    def look(self, place: Place, patience: Patience) -> Listed:
        """The object of exactly this key."""
        found: dict[str, Any] = self._call(
            place, patience, lambda s3: s3.head_object(Bucket=place.bucket, Key=place.key)
        )
        return Listed(place.key, found["ContentLength"], _version(found))

    def read(self, place: Place, patience: Patience, most: int | None = None) -> bytes:
        """The bytes of a small object. Raises TooLarge where there are more than `most`."""
        data: bytes = self._call(place, patience, lambda s3: _read(s3, place, most))
        if most is not None and len(data) > most:
            raise TooLarge(f"{place} is larger than {most} bytes")
        return data

    def write(self, place: Place, data: bytes, patience: Patience) -> None:
        """A small object."""
        self._call(place, patience, lambda s3: s3.put_object(Bucket=place.bucket, Key=place.key, Body=data))

    def write_first(self, place: Place, data: bytes, patience: Patience) -> None:
        """A small object, where there is none yet: of several writers one is the first, by S3's If-None-Match. A store
        that says that it does not know this (501) is written to all the same.
        """
        put = {"Bucket": place.bucket, "Key": place.key, "Body": data}
        self._call(place, patience, lambda s3: _put_first(s3, put))

    def list(self, prefix: Place, patience: Patience) -> Iterator[Listed]:
        """All objects whose key begins with the prefix's."""
        more: dict[str, str] | None = {}
        while more is not None:
            page = self._list_page(prefix, more, patience)
            yield from (Listed(item["Key"], item["Size"], _version(item)) for item in page.get("Contents", ()))
            more = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None

    def upload(self, path: Path, place: Place, patience: Patience) -> None:
        """A file of any size."""

        parts.upload(path, place.bucket, place.key, self._calls(place, patience), self._call_once)

    def download(self, place: Place, path: Path, patience: Patience) -> None:
        """An object of any size; `path` appears when it is complete."""
        try:
            self.download_version(place, path, "", patience)
        except parts.Changed as error:
            raise Failed(
                Failure(
                    Reason.STORAGE_UNAVAILABLE,
                    f"{place} was written anew while it was read",
                    "The next attempt reads it again. Keep what is trained on under a name that is written once.",
                )
            ) from error

    def download_version(self, place: Place, path: Path, version: str, patience: Patience) -> None:
        """As `download`, of the object as it was listed. Raises Changed where it is another one by now."""
        part = path.with_name(path.name + ".part")
        try:
            parts.download(place.bucket, place.key, part, self._calls(place, patience), _tag_in(version))
            part.rename(path)
        except OSError as error:
            raise Failed(
                Failure(
                    Reason.STORAGE_UNAVAILABLE,
                    f"{place}: {path} could not be written: {error}",
                    "The pod's disk is full, or the folder is not writable: raise "
                    "spec.resources.limits.ephemeral-storage.",
                )
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def read_part(self, place: Place, version: str, begin: int, end: int, patience: Patience) -> bytes:
        """Some bytes of the object as it was listed. Raises Changed where it is another one by now."""
        return parts.read(place.bucket, place.key, begin, end, self._calls(place, patience), _tag_in(version))

    def sha256(self, place: Place, patience: Patience) -> str:
        """Of an object of any size, of which nothing is kept. As 64 hex digits."""
        digest: str = self._call(place, patience, lambda s3: _sha256(s3, place), _SLOW_SECONDS)
        return digest

    def copy(self, source: Place, target: Place, patience: Patience) -> None:
        """An object of any size, by the store itself."""
        found = {"Bucket": source.bucket, "Key": source.key}
        self._call(source, patience, lambda s3: s3.copy(found, target.bucket, target.key), _SLOW_SECONDS)

    def delete(self, place: Place, patience: Patience) -> None:
        """An object, whether it is there or not."""
        self._call(place, patience, lambda s3: s3.delete_object(Bucket=place.bucket, Key=place.key))

    def abort_unfinished(
        self, prefix: Place, is_left_over: Callable[[parts.Unfinished], bool], patience: Patience
    ) -> int:
        """Ends the uploads in parts below the prefix that are leftovers: their parts take room that no listing of
        objects shows. How many there were.
        """
        left = [
            one
            for one in parts.unfinished(prefix.bucket, prefix.key, self._calls(prefix, patience))
            if is_left_over(one)
        ]
        for one in left:
            place = {"Bucket": prefix.bucket, "Key": one.key, "UploadId": one.upload}
            self._call_once(functools.partial(_abort, place))
        return len(left)

    def _calls(self, place: Place, patience: Patience) -> parts.Call:
        def call(operation: Callable[[Any], T], *, slow: bool = False) -> T:
            return self._call(place, patience, operation, _SLOW_SECONDS if slow else READ_SECONDS)

        return call

    def _call_once(self, operation: Callable[[Any], object]) -> None:
        """What is only tidy: tried once."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            operation(self._client(READ_SECONDS))
        except (BotoCoreError, ClientError) as error:
            log(f"S3: leftovers of an upload stay for now: {error}")

    def _list_page(self, prefix: Place, more: dict[str, str], patience: Patience) -> dict[str, Any]:
        page: dict[str, Any] = self._call(
            prefix, patience, lambda s3: s3.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, **more)
        )
        return page

    def _call(
        self, place: Place, patience: Patience, operation: Callable[[Any], T], read_seconds: float = READ_SECONDS
    ) -> T:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        pause, away_since = _FIRST_PAUSE, 0.0
        while True:
            try:
                result = operation(self._client(read_seconds))
            except ClientError as error:
                self._has_answered = True
                _raise_if_refused(place, error)
                problem = str(error)
            except (NoCredentialsError, PartialCredentialsError) as error:
                raise Failed(_without_keys(place, str(error))) from error
            except (BotoCoreError, Boto3Error) as error:
                if untrusted.is_untrusted(error) and not self._has_answered:
                    raise Failed(_untrusted(place, str(error))) from error
                problem = str(error)
            else:
                self._came_back()
                return result
            self._went_away(place, problem)
            if not patience.is_wanted():
                raise GivenUp
            away_since = away_since or time.monotonic()
            if time.monotonic() + pause > away_since + patience.seconds:
                raise Failed(
                    Failure(
                        Reason.STORAGE_UNAVAILABLE,
                        f"{place}: the store did not answer in time: {problem}",
                        "Look at the S3 store; the next attempt resumes from the last checkpoint.",
                    )
                )
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _went_away(self, place: Place, problem: str) -> None:
        if not self.away:
            log(f"S3 does not answer, trying again: {place}: {problem}")
            self.outages += 1
        self.away = True

    def _came_back(self) -> None:
        self._has_answered = True
        if self.away:
            log("S3 answers again")
        self.away = False

    def _client(self, read_seconds: float) -> Any:
        with self._lock:
            if read_seconds not in self._made:
                self._made[read_seconds] = client(self._storage.endpoint, self._storage.region, read_seconds)
            return self._made[read_seconds]


def _read(s3: Any, place: Place, most: int | None) -> bytes:
    with closing(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]) as body:
        data: bytes = body.read(None if most is None else most + 1)
    return data


def _put_first(s3: Any, put: dict[str, Any]) -> None:
    from botocore.exceptions import ClientError

    try:
        s3.put_object(**put, IfNoneMatch="*")
    except ClientError as error:
        status, _ = status_and_code(error)
        if status == HTTPStatus.NOT_IMPLEMENTED:
            s3.put_object(**put)
        elif status != HTTPStatus.PRECONDITION_FAILED:
            raise


def _sha256(s3: Any, place: Place) -> str:
    digest = hashlib.sha256()
    with closing(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]) as body:
        for chunk in body.iter_chunks(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _version(found: dict[str, Any]) -> str:
    return str(found.get("ETag") or f"{_TIME}{found['LastModified'].isoformat()}")


def _tag_in(version: str) -> str:
    """Empty where a listing has none: its times are finer than those of an answer, and cannot be compared with them."""
    return "" if version.startswith(_TIME) else version


def _abort(place: dict[str, str], s3: Any) -> None:
    s3.abort_multipart_upload(**place)


def _raise_if_refused(place: Place, error: Any) -> None:
    """Nothing is raised for what is worth another try."""
    meaning = meaning_of(error)
    if meaning is Meaning.NO_BUCKET:
        raise Failed(
            Failure(
                Reason.BUCKET_NOT_FOUND,
                f"{place}: there is no bucket {place.bucket}",
                "Create it, or run `headrace tenant add NAMESPACE`.",
            )
        ) from error
    if meaning is Meaning.NO_OBJECT:
        raise NotFound(str(place)) from error
    if meaning is Meaning.REFUSED:
        _, code = status_and_code(error)
        raise Failed(_forbidden(place, f"{code}: {error.response['Error'].get('Message', '')}")) from error


def _without_keys(place: Place, problem: str) -> Failure:
    return Failure(
        Reason.STORAGE_FORBIDDEN,
        f"{place}: the pod has no keys for S3: {problem}",
        "The Secret in namespace NAMESPACE that spec.storage.secretRef.name names needs AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY: run `headrace tenant add NAMESPACE`, and name headrace-storage there; without a "
        "Secret, the service account needs a workload identity.",
    )


def _untrusted(place: Place, problem: str) -> Failure:
    return Failure(Reason.STORAGE_FORBIDDEN, f"{place}: {problem}", untrusted.hint("AWS_CA_BUNDLE"))


def _forbidden(place: Place, problem: str) -> Failure:
    return Failure(
        Reason.STORAGE_FORBIDDEN,
        f"{place}: {problem}",
        "S3 denies this to the credentials in spec.storage.secretRef, or to the service account: check their policy, "
        "or run `headrace tenant add NAMESPACE` again.",
    )
