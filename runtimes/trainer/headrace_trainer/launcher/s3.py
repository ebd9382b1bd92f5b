"""The S3 store: a few operations with patience, and errors that mean something.

While the store does not answer, a call tries again with growing pauses until its patience ends; `away` says so
meanwhile. What the store refuses is not tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from headrace_common.s3 import Meaning, Place, client, meaning_of, status_and_code
from headrace_trainer.launcher.config import Storage
from headrace_trainer.launcher.failures import Failed, Failure, Reason
from headrace_trainer.launcher.log import log

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class NotFound(Exception):
    """There is no such object."""


class GivenUp(Exception):
    """The caller lost interest while the store was away."""


@dataclass(frozen=True)
class Listed:
    """One object of a listing; `size` in bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class Patience:
    """How many seconds a store may be away, from a call's first failure on, and whether the caller still wants it."""

    seconds: float
    is_wanted: Callable[[], bool] = lambda: True


class Store:
    """Thread-safe. Every method raises Failed (Storage…) where the store refuses or stays away, NotFound where
    nothing is there.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._made: Any = None
        self.away = False

    def exists(self, place: Place, patience: Patience) -> bool:
        """Whether there is an object of exactly this key."""
        try:
            self._call(place, patience, lambda s3: s3.head_object(Bucket=place.bucket, Key=place.key))
        except NotFound:
            return False
        return True

    def read(self, place: Place, patience: Patience) -> bytes:
        """The bytes of a small object."""
        data: bytes = self._call(
            place, patience, lambda s3: s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
        )
        return data

    def write(self, place: Place, data: bytes, patience: Patience) -> None:
        """A small object."""
        self._call(place, patience, lambda s3: s3.put_object(Bucket=place.bucket, Key=place.key, Body=data))

    def list(self, prefix: Place, patience: Patience) -> Iterator[Listed]:
        """All objects whose key begins with the prefix's."""
        more: dict[str, str] | None = {}
        while more is not None:
            page = self._list_page(prefix, more, patience)
            yield from (Listed(item["Key"], item["Size"]) for item in page.get("Contents", ()))
            more = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None

    def upload(self, path: Path, place: Place, patience: Patience) -> None:
        """A file of any size."""

        def send(s3: Any) -> None:
            with path.open("rb") as file:
                s3.upload_fileobj(file, place.bucket, place.key, Config=_transfer())

        self._call(place, patience, send)

    def download(self, place: Place, path: Path, patience: Patience) -> None:
        """An object of any size; `path` appears when it is complete."""
        part = path.with_name(path.name + ".part")

        def receive(s3: Any) -> None:
            with part.open("wb") as file:
                s3.download_fileobj(place.bucket, place.key, file, Config=_transfer())

        try:
            self._call(place, patience, receive)
            part.rename(path)
        except OSError as error:
            raise Failed(
                Failure(
                    Reason.STORAGE_UNAVAILABLE,
                    f"{place}: {path} could not be written: {error}",
                    "The pod's disk is full, or the folder is not writable: raise resources.limits.ephemeral-storage.",
                )
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def delete(self, place: Place, patience: Patience) -> None:
        """An object, whether it is there or not."""
        self._call(place, patience, lambda s3: s3.delete_object(Bucket=place.bucket, Key=place.key))

    def _list_page(self, prefix: Place, more: dict[str, str], patience: Patience) -> dict[str, Any]:
        page: dict[str, Any] = self._call(
            prefix, patience, lambda s3: s3.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, **more)
        )
        return page

    def _call(self, place: Place, patience: Patience, operation: Callable[[Any], T]) -> T:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
        from s3transfer.exceptions import RetriesExceededError

        pause, away_since = _FIRST_PAUSE, 0.0
        while True:
            try:
                result = operation(self._client())
            except ClientError as error:
                _raise_if_refused(place, error)
                problem = str(error)
            except (NoCredentialsError, PartialCredentialsError) as error:
                raise Failed(_forbidden(place, str(error))) from error
            except (BotoCoreError, Boto3Error, RetriesExceededError) as error:
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
        self.away = True

    def _came_back(self) -> None:
        if self.away:
            log("S3 answers again")
        self.away = False

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = client(self._storage.endpoint, self._storage.region)
            return self._made


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(max_concurrency=4, num_download_attempts=1)


def _raise_if_refused(place: Place, error: Any) -> None:
    """Nothing is raised for what is worth another try."""
    meaning = meaning_of(error)
    if meaning is Meaning.NO_BUCKET:
        raise Failed(
            Failure(
                Reason.BUCKET_NOT_FOUND,
                f"{place}: there is no bucket {place.bucket}",
                "Create it, or run `headrace tenant add` for this namespace.",
            )
        ) from error
    if meaning is Meaning.NO_OBJECT:
        raise NotFound(str(place)) from error
    if meaning is Meaning.REFUSED:
        _, code = status_and_code(error)
        raise Failed(_forbidden(place, f"{code}: {error.response['Error'].get('Message', '')}")) from error


def _forbidden(place: Place, problem: str) -> Failure:
    return Failure(
        Reason.STORAGE_FORBIDDEN,
        f"{place}: {problem}",
        "S3 denies this to the credentials in spec.storage.secretRef, or to the service account: check their policy, "
        "or run `headrace tenant add` again.",
    )
