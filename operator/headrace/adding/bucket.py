"""The tenant's bucket, with the tenant's own key: list, put (large files in parts), delete.

Only the command line has it. The operator reads and writes no bytes of models, and imports nothing from here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from headrace.adding.errors import CannotAdd
from headrace.adding.there import There
from headrace.tenancy.sigv4 import AccessKey, canonical_query, sign

# A part is what is in memory at a time, and what is sent again after a failure. S3 takes 10,000 of an object.
PART_BYTES = 16 << 20
MAX_PARTS = 10_000
TRIES = 4
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 120.0
_REQUEST_SECONDS = 300.0
_TRY_AGAIN = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "Throttling"}
_MESSAGE_LENGTH = 300


class StoreAway(CannotAdd):
    """No answer, or one that may be another one later."""


class NoUpload(CannotAdd):
    """Parts that are no upload any more: it has been completed, or given up."""


def why_no_url(url: str) -> str | None:
    """Why nothing can be asked at `url`, or None."""
    try:
        parsed = URL(url)
        is_right = parsed.scheme in ("http", "https") and bool(parsed.host) and (parsed.port or 0) > 0
    except ValueError as error:
        return f"{url!r} is no address: {error}"
    return None if is_right else f"{url!r} is no address: it has to be like http://HOST:PORT"


def _nothing(line: str) -> None: ...


@dataclass(frozen=True)
class Bucket:
    """`url` is how this machine reaches the store, `token` that of temporary credentials."""

    url: str
    region: str
    name: str
    key: AccessKey
    session: aiohttp.ClientSession
    token: str = field(default="", repr=False)
    part_bytes: int = PART_BYTES
    pause: float = 1.0
    # For a request as a whole, with its body: a tunnel that is stuck takes bytes for ever.
    request_seconds: float = _REQUEST_SECONDS
    report: Callable[[str], None] = _nothing

    async def objects(self, prefix: str) -> dict[str, There]:
        """The objects below a prefix, by their keys."""
        found: dict[str, There] = {}
        query = {"list-type": "2", "prefix": prefix}
        while True:
            answer = self._read(await self._send("GET", "", query=query))
            for entry in answer.iter("Contents"):
                size = entry.findtext("Size", "0")
                etag = entry.findtext("ETag", "").strip('"')
                found[entry.findtext("Key", "")] = There(int(size) if size.isdecimal() else 0, etag)
            token = answer.findtext("NextContinuationToken", "")
            if not token:
                return found
            query = {**query, "continuation-token": token}

    def is_same(self, path: Path, found: There | None) -> bool:
        """Whether an object is the file, and was sent from here. Raises OSError where the file cannot be read."""
        return found is not None and found.is_file(path, self._length_of_parts(path.stat().st_size))

    async def get(self, key: str) -> bytes:
        """An object that is small."""
        return await self._send("GET", key)

    async def put(self, key: str, content: bytes) -> None:
        """An object that is small."""
        await self._send("PUT", key, body=content)

    async def upload(self, path: Path, key: str, sha256: str, sent: Callable[[int], None]) -> None:
        """A file of any size, with this sum, or none: other bytes become no object. `sent` hears of the bytes of each
        part. What was begun and not ended is taken away.
        """
        size = path.stat().st_size
        if size <= self.part_bytes:
            content = path.read_bytes()
            _must_be_same(path, hashlib.sha256(content), sha256)
            await self.put(key, content)
            sent(size)
            return
        begun = self._read(await self._send("POST", key, query={"uploads": ""}))
        upload = {"uploadId": begun.findtext("UploadId", "")}
        try:
            parts = await self._parts(path, key, upload, size, sha256, sent)
            await self._complete(path, key, upload, parts)
        except BaseException:
            # Shielded: an interrupt has cancelled this task, and parts that nobody sees would stay and cost.
            await asyncio.shield(self._abort(key, upload))
            raise

    async def delete(self, key: str) -> None:
        """One that is gone is fine."""
        await self._send("DELETE", key)

    async def _complete(self, path: Path, key: str, upload: Mapping[str, str], parts: bytes) -> None:
        """Where the answer to the first try was lost, the second one finds no upload, and the object is there."""
        try:
            await self._send("POST", key, query=upload, body=parts)
        except NoUpload:
            if not self.is_same(path, (await self.objects(key)).get(key)):
                raise

    async def _parts(
        self, path: Path, key: str, upload: Mapping[str, str], size: int, sha256: str, sent: Callable[[int], None]
    ) -> bytes:
        """Sends them one after another; what completes the upload."""
        found = hashlib.sha256()
        whole = ElementTree.Element("CompleteMultipartUpload")
        length = self._length_of_parts(size)
        with path.open("rb") as file:
            number = 0
            while body := file.read(length):
                number += 1
                found.update(body)
                tag = await self._etag(key, {**upload, "partNumber": str(number)}, body)
                part = ElementTree.SubElement(whole, "Part")
                ElementTree.SubElement(part, "PartNumber").text = str(number)
                ElementTree.SubElement(part, "ETag").text = tag
                sent(len(body))
        _must_be_same(path, found, sha256)
        return ElementTree.tostring(whole)

    def _length_of_parts(self, size: int) -> int:
        return max(self.part_bytes, -(-size // MAX_PARTS))

    async def _etag(self, key: str, query: Mapping[str, str], body: bytes) -> str:
        _, headers = await self._answer("PUT", key, query, body)
        return headers.get("ETag", "")

    async def _abort(self, key: str, upload: Mapping[str, str]) -> None:
        try:
            await self._once("DELETE", key, upload, b"")
        except CannotAdd:
            return  # the first error is the one that is told

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def _send(self, method: str, key: str, *, query: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        return (await self._answer(method, key, query or {}, body))[0]

    async def _answer(
        self, method: str, key: str, query: Mapping[str, str], body: bytes
    ) -> tuple[bytes, Mapping[str, str]]:
        for tried in range(1, TRIES):
            try:
                return await self._once(method, key, query, body)
            except StoreAway as error:
                self.report(f"{error}; tries again")
                await asyncio.sleep(self.pause * 2 ** (tried - 1))
        return await self._once(method, key, query, body)

    async def _once(
        self, method: str, key: str, query: Mapping[str, str], body: bytes
    ) -> tuple[bytes, Mapping[str, str]]:
        url = f"{self.url.rstrip('/')}/{self.name}"
        raw, target = (f"{url}/{key}", f"{url}/{quote(key, safe='/-_.~')}") if key else (url, url)
        extra = {"x-amz-security-token": self.token} if self.token else {}
        headers = sign(self.key, self.region, datetime.now(UTC), method, raw, query, extra, body)
        subject = f"S3 store at {self.url}: {method} of s3://{self.name}/{key}"
        timeout = aiohttp.ClientTimeout(
            total=self.request_seconds, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
        )
        address = f"{target}?{canonical_query(query)}" if query else target
        try:
            # As it was signed: a text would be encoded again.
            async with self.session.request(
                method, URL(address, encoded=True), headers=headers, data=body, timeout=timeout, allow_redirects=False
            ) as response:
                status, answer, told = response.status, await response.read(), response.headers
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise StoreAway(f"{subject}: no answer: {str(error) or type(error).__name__}") from error
        except ValueError as error:  # such as a newline in a key
            raise CannotAdd(f"{subject}: it cannot be asked for: {error}") from error
        # An upload that could not be completed is said in the body of a 200, after spaces that kept the line open.
        completes = method == "POST" and "uploadId" in query and status < 300
        code = _error_code(answer) if completes or status >= 300 else ""
        if status >= 500 or status == 429 or code in _TRY_AGAIN:
            raise StoreAway(f"{subject}: {status}: {_said(answer)}")
        if code == "NoSuchUpload":
            raise NoUpload(f"{subject}: {status}: {_said(answer)}")
        if status >= 300 or code:
            raise CannotAdd(f"{subject}: {status}: {_said(answer)}")
        return answer, told  # its names are of any case: a server may say Etag

    def _read(self, answer: bytes) -> ElementTree.Element:
        with suppress(ElementTree.ParseError):
            root = _without_namespaces(answer)
            if root.tag.endswith("Result"):
                return root
        raise CannotAdd(f"{self.url} answers, but not as an S3 store does: is it the address of one?")


def _must_be_same(path: Path, found: hashlib._Hash, sha256: str) -> None:
    if found.hexdigest() != sha256:
        raise CannotAdd(f"{path} was changed while it was uploaded: add the model again when nobody writes to it")


def _error_code(answer: bytes) -> str:
    """Of an answer that is an error: its word, or that it has none. Empty for what is none."""
    try:
        root = _without_namespaces(answer)
    except ElementTree.ParseError:
        return ""
    return root.findtext("Code", "") or "an error without a code" if root.tag == "Error" else ""


def _without_namespaces(answer: bytes) -> ElementTree.Element:
    root = ElementTree.fromstring(answer.strip())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _said(answer: bytes) -> str:
    try:
        root = _without_namespaces(answer)
    except ElementTree.ParseError:
        return answer.decode(errors="replace").strip()[:_MESSAGE_LENGTH]
    return " ".join(filter(None, [root.findtext("Code"), root.findtext("Message")]))[:_MESSAGE_LENGTH]
