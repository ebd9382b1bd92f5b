"""Large objects in parts, each of which is sent or fetched, and tried again, for itself: a connection that breaks costs
one part. At most `_AT_ONCE` parts are in memory, however large the object is.

How a call is tried again, and what its errors mean, is the store's (s3.py): it passes `call`. What is given up is taken
away again, as far as the store still answers; the rest of it is found by `unfinished`.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from headrace_common.s3 import bare_tag, status_and_code

T = TypeVar("T")
PART_BYTES = 8 << 20
_MOST_PARTS = 10_000  # S3's own bound
_AT_ONCE = 4
_CHUNK_BYTES = 1 << 20


class Call(Protocol):
    """Makes one request, and makes it again while the store is away. A `slow` one is answered late."""

    def __call__(self, operation: Callable[[Any], T], *, slow: bool = False) -> T: ...


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that nobody has finished."""

    key: str
    upload: str
    began: datetime


class Changed(Exception):
    """The object was written anew while it was read."""


def upload(path: Path, bucket: str, key: str, call: Call, give_up: Callable[[Callable[[Any], object]], None]) -> None:
    """A file. `give_up` makes a request once, whatever comes of it."""
    size = path.stat().st_size
    if size <= PART_BYTES:
        data = path.read_bytes()
        call(lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=data))
        return
    place = {"Bucket": bucket, "Key": key}
    place["UploadId"] = call(lambda s3: s3.create_multipart_upload(**place))["UploadId"]
    length = max(PART_BYTES, -(-size // _MOST_PARTS))

    def send(begin: int) -> dict[str, Any]:
        with path.open("rb") as file:
            data = os.pread(file.fileno(), length, begin)
        number = begin // length + 1
        sent = call(lambda s3: s3.upload_part(**place, PartNumber=number, Body=data))
        return {"PartNumber": number, "ETag": sent["ETag"]}

    try:
        parts = _all(send, range(0, size, length))
        call(lambda s3: _complete(s3, place, parts, size), slow=True)
    except BaseException:
        give_up(lambda s3: s3.abort_multipart_upload(**place))
        raise


def _complete(s3: Any, place: dict[str, str], parts: Sequence[dict[str, Any]], size: int) -> None:
    from botocore.exceptions import ClientError

    try:
        s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchUpload" or not _is_there(s3, place, size):
            raise
        # An answer that did not come through: it was complete before this try.


def _is_there(s3: Any, place: dict[str, str], size: int) -> bool:
    found = s3.list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"], MaxKeys=1).get("Contents", [])
    return [(one["Key"], one["Size"]) for one in found] == [(place["Key"], size)]


def download(bucket: str, key: str, path: Path, call: Call, tag: str = "") -> None:
    """An object, to a file; with a `tag`, the one of this ETag. Raises Changed, and OSError of the file."""
    place = {"Bucket": bucket, "Key": key}
    with path.open("wb") as file:
        descriptor = file.fileno()
        size, found = call(lambda s3: _fetch_first(s3, place, tag, descriptor))

        def fetch(begin: int) -> None:
            end = min(begin + PART_BYTES, size)
            call(lambda s3: _fetch(s3, place, found, begin, end, descriptor))

        _all(fetch, range(PART_BYTES, size, PART_BYTES))


def read(bucket: str, key: str, begin: int, end: int, call: Call, tag: str = "") -> bytes:
    """The bytes of an object from `begin` up to `end`; with a `tag`, of the one of this ETag. Raises Changed."""
    place = {"Bucket": bucket, "Key": key}
    return call(lambda s3: _read(s3, place, tag, begin, end))


def _read(s3: Any, place: dict[str, str], tag: str, begin: int, end: int) -> bytes:
    try:
        found = s3.get_object(**place, Range=f"bytes={begin}-{end - 1}")
    except s3.exceptions.ClientError as error:
        if status_and_code(error)[0] == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is shorter than it was
            raise Changed from error
        raise
    with closing(found["Body"]) as body:
        if tag and bare_tag(tag) != bare_tag(found["ETag"]):
            raise Changed
        data: bytes = body.read()  # raises where the stream ends too early
    if len(data) != end - begin:
        raise Changed
    return data


def _fetch_first(s3: Any, place: dict[str, str], tag: str, descriptor: int) -> tuple[int, str]:
    """The first part, and how much there is of which object: an object of one part takes one request. The tag is
    compared here, and not by the store: not every store knows If-Match.
    """
    found = s3.get_object(**place)
    size = int(found["ContentLength"])
    with closing(found["Body"]) as body:
        if tag and bare_tag(tag) != bare_tag(found["ETag"]):
            raise Changed
        _pour(body, descriptor, 0, min(size, PART_BYTES))
    return size, found["ETag"]


def _fetch(s3: Any, place: dict[str, str], tag: str, begin: int, end: int, descriptor: int) -> None:
    found = s3.get_object(**place, Range=f"bytes={begin}-{end - 1}")
    with closing(found["Body"]) as body:
        if found["ETag"] != tag:
            raise Changed
        _pour(body, descriptor, begin, end)


def _pour(body: Any, descriptor: int, begin: int, end: int) -> None:
    while begin < end:
        data = body.read(min(_CHUNK_BYTES, end - begin))  # raises where the stream ends too early
        begin += os.pwrite(descriptor, data, begin)


def unfinished(bucket: str, prefix: str, call: Call) -> Iterator[Unfinished]:
    """The uploads in parts below the prefix that are still open."""
    more: dict[str, str] | None = {}
    while more is not None:
        page = _page(bucket, prefix, more, call)
        yield from (Unfinished(one["Key"], one["UploadId"], one["Initiated"]) for one in page.get("Uploads", ()))
        more = None
        if page.get("IsTruncated"):
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _page(bucket: str, prefix: str, more: dict[str, str], call: Call) -> dict[str, Any]:
    page: dict[str, Any] = call(lambda s3: s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **more))
    return page


def _all(work: Callable[[int], T], begins: Sequence[int]) -> list[T]:
    """The results in order; where one fails those that have not begun are left out."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts") as pool:
        futures = [pool.submit(work, begin) for begin in begins]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
