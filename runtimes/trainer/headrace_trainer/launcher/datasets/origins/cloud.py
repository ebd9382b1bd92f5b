"""gs://BUCKET/KEY and az://CONTAINER/KEY, by the library obstore. As s3://: one object of exactly that key, or all
below it.

Credentials are those of the environment, or of a workload identity; the library reads them itself. Which store of Azure
it is, AZURE_STORAGE_ACCOUNT_NAME says. What the library tells of an error has addresses in it, which may be signed: the
part after a `?` is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.at_once import for_each
from headrace_trainer.launcher.datasets.objects import Object, forbidden, found_below, not_found, written_whole
from headrace_trainer.launcher.datasets.origins.http import TryAgain, is_worth_another_try, patiently
from headrace_trainer.launcher.datasets.origins.waiting import Waiting
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store import untrusted
from headrace_trainer.launcher.store.parts import PART_BYTES, Changed
from headrace_trainer.launcher.store.s3 import NotFound

T = TypeVar("T")
GOOGLE, AZURE = "gs://", "az://"
_PARTS_AT_ONCE = 4
_CHUNK_BYTES = 1 << 20
_MOST_TOLD = 300
_STATUS = re.compile(r"status code: (\d{3})")
_QUERY = re.compile(r"\?\S*")
_ROLES: Mapping[str, str] = {
    GOOGLE: "Let the pods' service account list and read the bucket (workload identity), or put "
    "GOOGLE_SERVICE_ACCOUNT_KEY into the Secret that spec.storage names.",
    AZURE: "Put AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, into the Secret "
    "that spec.storage names, or let the pods' service account list and read the container (workload identity).",
}
# As the library tells that it has listed such a key.
_BAD_KEY = "Encountered object with invalid path"
_NAMES = "Copy the objects to keys without `//`, without the parts `.` and `..`, and without control characters."


class Cloud:
    """One bucket or container."""

    def __init__(self, dataset: Dataset, outage_seconds: float) -> None:
        self._scheme = dataset.uri[: len(GOOGLE)]
        self._bucket, _, self._key = dataset.uri[len(GOOGLE) :].partition("/")
        self._outage_seconds = outage_seconds
        self._store = self._open(dataset)

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        import obstore

        try:
            if not self._key.endswith("/"):
                one = self._call(dataset, lambda: obstore.head(self._store, self._key))
                return (Object(dataset.uri, "", one["size"], _version(one)),)
        except NotFound:
            pass
        prefix = f"{self._key.rstrip('/')}/"
        try:
            listed = self._call(dataset, lambda: [one for page in obstore.list(self._store, prefix) for one in page])
        except NotFound:
            raise Failed(not_found(dataset, "there is no such bucket or container")) from None
        found = {one["path"][len(prefix) :]: one for one in listed}
        folders = {"/".join(path.split("/")[:depth]) for path in found for depth in range(1, path.count("/") + 1)}
        return found_below(  # the library names a folder's own empty object as the folder
            dataset,
            (
                (path, one["size"], _version(one))
                for path, one in sorted(found.items())
                if one["size"] or path not in folders
            ),
        )

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        key = self._key_of(one)
        with written_whole(dataset, target) as file:
            descriptor = file.fileno()
            for_each(
                range(0, max(one.size, 1), PART_BYTES),
                lambda begin: self._call(dataset, lambda: self._fetch(key, one, begin, descriptor)),
                _PARTS_AT_ONCE if one.size > PART_BYTES else 1,
            )

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        return self._call(dataset, lambda: self._read(self._key_of(one), one, begin, end))

    def _read(self, key: str, one: Object, begin: int, end: int) -> bytes:
        import obstore

        found = obstore.get(self._store, key, options={"range": (begin, end)})
        if _version(found.meta) != one.version or found.meta["size"] != one.size:
            raise Changed
        data = bytes(found.bytes())
        if len(data) != end - begin:
            raise Changed
        return data

    def _key_of(self, one: Object) -> str:
        return self._key if not one.path else f"{self._key.rstrip('/')}/{one.path}"

    def _fetch(self, key: str, one: Object, begin: int, descriptor: int) -> None:
        import obstore

        end = min(begin + PART_BYTES, one.size)
        found = obstore.get(self._store, key, options={"range": (begin, end)} if end < one.size or begin else None)
        if _version(found.meta) != one.version or found.meta["size"] != one.size:
            raise Changed
        for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
            begin += os.pwrite(descriptor, chunk, begin)
        if begin != end:
            raise Changed

    def _open(self, dataset: Dataset) -> Any:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore

        kind = GCSStore if self._scheme == GOOGLE else AzureStore
        try:
            return kind(
                self._bucket,
                # http:// only where the environment names such an endpoint.
                client_options={"allow_http": True, "connect_timeout": "3s", "timeout": "120s", "read_timeout": "20s"},
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},  # no retry inside a retry
            )
        except (BaseError, ValueError) as error:
            raise Failed(forbidden(dataset, f"{dataset.uri}: {_told(error)}", _ROLES[self._scheme])) from error

    def _call(self, dataset: Dataset, operation: Callable[[], T]) -> T:
        from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError

        def tried() -> T:
            try:
                return operation()
            except FileNotFoundError as error:
                raise NotFound(dataset.uri) from error
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise Failed(forbidden(dataset, f"{dataset.uri}: {_told(error)}", _ROLES[self._scheme])) from error
            except (ValueError, InvalidPathError) as error:
                raise Failed(self._unnamed(dataset)) from error
            except BaseError as error:
                if untrusted.is_untrusted(error):
                    why = f"{dataset.uri}: the server's certificate is not trusted: {_told(error)}"
                    raise Failed(forbidden(dataset, why, untrusted.hint("SSL_CERT_FILE"))) from error
                self._raise_if_refused(dataset, error)
                raise TryAgain(_told(error)) from error

        waiting, where = Waiting(self._outage_seconds), f"dataset {dataset.name}: {dataset.uri}"
        return patiently(tried, waiting, where, lambda error: _away(dataset, str(error)))

    def _unnamed(self, dataset: Dataset) -> Failure:
        """Of `//`, `..` or a control character in a key."""
        why = f"{dataset.uri}: the library that reads {self._scheme} cannot name this key, or one below it"
        return forbidden(dataset, why, _NAMES)

    def _raise_if_refused(self, dataset: Dataset, error: Exception) -> None:
        """Nothing is raised for what is worth another try. Of a listing the library tells the status in words alone."""
        if _BAD_KEY in str(error):
            raise Failed(self._unnamed(dataset)) from error
        found = _STATUS.search(str(error))
        status = int(found[1]) if found else 0
        if status == 404:
            raise NotFound(dataset.uri) from error
        if status >= 400 and not is_worth_another_try(status):
            raise Failed(forbidden(dataset, f"{dataset.uri}: {_told(error)}", _ROLES[self._scheme])) from error


def _version(found: Mapping[str, Any]) -> str:
    """Bare: a listing has no quotes around an ETag, and other answers have."""
    return str(found["e_tag"] or found["last_modified"].isoformat()).strip('"')


def _told(error: Exception) -> str:
    """The first line: more of them are the library's own structures."""
    return _QUERY.sub("", str(error).strip().partition("\n")[0])[:_MOST_TOLD]


def _away(dataset: Dataset, problem: str) -> Failure:
    return Failure(
        Reason.STORAGE_UNAVAILABLE,
        f"dataset {dataset.name}: {dataset.uri}: the store did not answer in time: {problem}",
        "Look at the store, and whether the pods have credentials for it; the next attempt tries again.",
    )
