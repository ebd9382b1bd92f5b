"""webhdfs://HOST:PORT/PATH, and swebhdfs:// by TLS: a file of HDFS, or all below a folder, by WebHDFS' REST interface
(of a NameNode, or of HttpFS). Hadoop's own names: in hdfs:// the port is another one's, which speaks no HTTP.

What a file is, its number (fileId), its time and its length say: HDFS writes no byte of a file in place, and one that
is written anew has another number. They are compared before and after a file is read. A checksum would have to be
asked for file by file, and differs by the size of blocks.

Who reads is HADOOP_USER_NAME, or whom the token WEBHDFS_DELEGATION_TOKEN is of. The NameNode leads each read to a
DataNode by an address that has the token: no text of ours has what comes after a `?`.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.at_once import for_each
from headrace_trainer.launcher.datasets.objects import Object, forbidden, found_below, not_found, written_whole
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
from headrace_trainer.launcher.store.parts import Changed
from headrace_trainer.launcher.store.s3 import NotFound

T = TypeVar("T")
SCHEMES: Mapping[str, str] = {"webhdfs://": "http", "swebhdfs://": "https"}
_API = "/webhdfs/v1/"
USER, TOKEN = "HADOOP_USER_NAME", "WEBHDFS_DELEGATION_TOKEN"
_PART_BYTES = 64 << 20  # each is two requests
_PARTS_AT_ONCE = 4
_STREAMED_BYTES = 64 << 10  # at least so often it is looked at how late it is
_MOST_OF_AN_ANSWER = 64 << 20  # a NameNode sends a thousand names in one
_MOST_TOLD = 300
# Of a request, path and query together. A DataNode tells one that is longer as a broken request.
_LONGEST_LINE = 4096 - len("GET  HTTP/1.1")
_OF_A_LONG_LINE = (http.client.BAD_REQUEST, http.client.REQUEST_URI_TOO_LONG)
_REDIRECTS = 3
# Of a NameNode that is starting, or is the other one of two.
_NOT_NOW = ("StandbyException", "RetriableException", "SafeModeException")
_WHO = (
    f"Let the user read the files: {USER} says which one it is, by podTemplate or by the Secret that spec.storage "
    f"names; a cluster with Kerberos needs a delegation token, as {TOKEN} in that Secret (Kerberos is not spoken)."
)
_SHORTER = "Use shorter names, or fewer folders in one another; letters beyond ASCII count three to twelve times."
_NAMES = "Name the files that the links lead to, or copy them into the folder."


@dataclass(frozen=True)
class _Status:
    """Of a file, folder or link; `name` is empty where it was asked for by its path. The size is in bytes."""

    kind: str
    name: str
    size: int
    version: str

    @staticmethod
    def of(told: Any) -> _Status:
        """Raises KeyError, TypeError, ValueError."""
        version = f"{told.get('fileId', 0)}-{told['modificationTime']}"
        return _Status(str(told["type"]), str(told["pathSuffix"]), int(told["length"]), version)


class WebHdfs:
    """One cluster."""

    def __init__(self, dataset: Dataset, outage_seconds: float) -> None:
        scheme = next(scheme for scheme in SCHEMES if dataset.uri.startswith(scheme))
        host, _, path = dataset.uri.removeprefix(scheme).partition("/")
        self._outage_seconds = outage_seconds
        self._root = f"{SCHEMES[scheme]}://{host}{_API}"
        self._path = path.rstrip("/")
        self._opener = urllib.request.build_opener(_Redirects(f"{SCHEMES[scheme]}://"))

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        try:
            status = self._status(dataset, self._path)
        except NotFound:
            raise Failed(not_found(dataset, "there is no such file or folder")) from None
        if status.kind == "FILE":
            return (Object(dataset.uri.rstrip("/"), "", status.size, status.version),)
        return found_below(dataset, sorted(self._files(dataset)))

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        path = self._path_of(one)
        self._check(dataset, one, path)
        with written_whole(dataset, target) as file:
            descriptor = file.fileno()
            for_each(
                range(0, one.size, _PART_BYTES),
                lambda begin: self._fetch(dataset, one, path, begin, descriptor),
                _PARTS_AT_ONCE if one.size > _PART_BYTES else 1,
            )
            self._check(dataset, one, path)

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        path, found = self._path_of(one), bytearray()
        # One for all three requests: the script's side waits for half as long more.
        waiting = Waiting.for_all(self._outage_seconds)

        def go_on() -> None:
            at = begin + len(found)
            with self._open(dataset, path, "OPEN", offset=str(at), length=str(end - at)) as answer:
                while len(found) < end - begin and (data := read_some(answer, _STREAMED_BYTES)):
                    found.extend(data[: end - begin - len(found)])
                    if len(found) < end - begin and waiting.is_past():
                        raise TryAgain(f"only {len(found)} of {end - begin} bytes came")
            if len(found) < end - begin:
                raise TryAgain(f"it broke off after {begin + len(found)} of {one.size} bytes")

        self._check(dataset, one, path, waiting)
        self._patiently(dataset, go_on, waiting)
        self._check(dataset, one, path, waiting)
        return bytes(found)

    def _path_of(self, one: Object) -> str:
        return "/".join(filter(None, (self._path, one.path)))

    def _check(self, dataset: Dataset, one: Object, path: str, waiting: Waiting | None = None) -> None:
        now = self._status(dataset, path, waiting)
        if (now.size, now.version) != (one.size, one.version):
            raise Changed

    def _fetch(self, dataset: Dataset, one: Object, path: str, begin: int, descriptor: int) -> None:
        at, end, waiting = begin, min(begin + _PART_BYTES, one.size), Waiting(self._outage_seconds)

        def go_on() -> None:
            nonlocal at
            with self._open(dataset, path, "OPEN", offset=str(at), length=str(end - at)) as answer:
                while at < end and (data := read_some(answer)):
                    at += os.pwrite(descriptor, data[: end - at], at)
                    waiting.came(at)
            if at < end:
                raise TryAgain(f"it broke off after {at} of {one.size} bytes")

        self._patiently(dataset, go_on, waiting)

    def _files(self, dataset: Dataset, below: str = "") -> Iterator[tuple[str, int, str]]:
        for entry in self._entries(dataset, below):
            path = f"{below}{entry.name}"
            if entry.kind == "DIRECTORY":
                yield from self._files(dataset, f"{path}/")
            elif entry.kind == "FILE":
                yield path, entry.size, entry.version
            else:
                raise Failed(forbidden(dataset, f"{dataset.uri.rstrip('/')}/{path} is a link", _NAMES))

    def _entries(self, dataset: Dataset, below: str) -> Iterator[_Status]:
        """Of one folder, in the order of their names; a NameNode tells so many of them at once."""
        folder, last, first = f"{self._path}/{below}".strip("/"), "", ""
        while True:
            try:
                entries, are_all = self._ask(dataset, folder, "LISTSTATUS_BATCH", _listing, **_after(last))
            except NotFound:
                raise Failed(not_found(dataset, f"{folder} went away while it was listed")) from None
            if entries and entries[0].name == first:
                raise Failed(_no_hdfs(dataset, "it lists the same files again"))
            yield from entries
            if are_all or not entries:
                return
            first, last = entries[0].name, entries[-1].name

    def _status(self, dataset: Dataset, path: str, waiting: Waiting | None = None) -> _Status:
        return self._ask(dataset, path, "GETFILESTATUS", lambda told: _Status.of(told["FileStatus"]), waiting)

    def _ask(
        self,
        dataset: Dataset,
        path: str,
        operation: str,
        read: Callable[[Any], T],
        waiting: Waiting | None = None,
        /,
        **arguments: str,
    ) -> T:
        """What `read` makes of the answer, which raises what any text may come to. Raises NotFound."""

        def ask() -> T:
            with self._open(dataset, path, operation, **arguments) as answer:
                try:
                    return read(json.loads(answer.read(_MOST_OF_AN_ANSWER)))
                except (OSError, http.client.HTTPException) as error:
                    raise TryAgain(cause(error)) from error
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise Failed(_no_hdfs(dataset)) from None

        return self._patiently(dataset, ask, waiting or Waiting(self._outage_seconds))

    def _patiently(self, dataset: Dataset, work: Callable[[], T], waiting: Waiting) -> T:
        return patiently(work, waiting, f"dataset {dataset.name}: {dataset.uri}", lambda error: _away(dataset, error))

    def _open(self, dataset: Dataset, path: str, operation: str, **arguments: str) -> Any:
        query = urllib.parse.urlencode({"op": operation, **arguments, **_who(os.environ)})
        address = f"{self._root}{urllib.parse.quote(path)}?{query}"
        try:
            return self._opener.open(urllib.request.Request(address), timeout=READ_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                problem = _refusal(dataset, error)
            raise problem from None
        except (ValueError, http.client.InvalidURL):  # of a host's name, here or where a redirect leads
            raise Failed(forbidden(dataset, f"{dataset.uri}: there is no host of such a name", _WHO)) from None
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain(cause(error)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To DataNodes, by the protocol that the NameNode speaks: a token is not sent where others can read it."""

    max_redirections = _REDIRECTS

    def __init__(self, begin: str) -> None:
        self._begin = begin

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith(self._begin):
            raise urllib.error.HTTPError(req.full_url, code, f"it leads to what is not {self._begin}", headers, fp)
        place = urllib.parse.urlsplit(newurl)
        if place.path.startswith(_API):  # a NameNode leaves letters as they are there, which a request cannot have
            newurl = place._replace(path=urllib.parse.urlsplit(req.full_url).path).geturl()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _who(environment: Mapping[str, str]) -> Mapping[str, str]:
    if token := environment.get(TOKEN, "").strip():
        return {"delegation": token}
    user = environment.get(USER, "").strip()
    return {"user.name": user} if user else {}


def _after(name: str) -> Mapping[str, str]:
    """In both spellings: NameNodes differ in which of them they read."""
    return {"startAfter": name, "startafter": name} if name else {}


def _listing(told: Any) -> tuple[Sequence[_Status], bool]:
    """A part of a folder's entries, and whether it is the last one."""
    listing = told["DirectoryListing"]
    entries = [_Status.of(entry) for entry in listing["partialListing"]["FileStatuses"]["FileStatus"]]
    return entries, not listing["remainingEntries"]


def _refusal(dataset: Dataset, error: urllib.error.HTTPError) -> Exception:
    """What an answer that is none means."""
    kind, message = _remote(error)
    if kind in _NOT_NOW or is_worth_another_try(error.code):
        return TryAgain(f"it answers {error.code} {kind}".strip())
    if kind == "FileNotFoundException":
        return NotFound(dataset.uri)
    if 300 <= error.code < 400:
        scheme = SCHEMES[f"{dataset.uri.partition('://')[0]}://"]
        why = f"it is redirected more than {_REDIRECTS} times, in a circle, or to what is not {scheme}://"
        return Failed(forbidden(dataset, f"{dataset.uri}: {why}", _WHO))
    line = len(urllib.parse.urlsplit(error.url)._replace(scheme="", netloc="").geturl())
    if not kind and error.code in _OF_A_LONG_LINE and line > _LONGEST_LINE:
        why = f"a path of {line} bytes, with what is asked of it; a DataNode reads {_LONGEST_LINE}"
        return Failed(forbidden(dataset, f"{dataset.uri[:_MOST_TOLD]}: it answers {error.code} to {why}", _SHORTER))
    if not kind and error.code != http.client.UNAUTHORIZED:
        return Failed(_no_hdfs(dataset, f"it answers {error.code}"))
    return Failed(forbidden(dataset, f"{dataset.uri}: it answers {error.code} {kind}: {message}"[:_MOST_TOLD], _WHO))


def _remote(error: urllib.error.HTTPError) -> tuple[str, str]:
    """As Hadoop tells an error: its name, and the first line of its message."""
    try:
        told = json.loads(error.read(_MOST_OF_AN_ANSWER))["RemoteException"]
        return str(told["exception"]), str(told["message"]).strip().partition("\n")[0]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return "", "it wants to know who reads" if error.code == http.client.UNAUTHORIZED else ""


def _no_hdfs(dataset: Dataset, what: str = "it answers something else") -> Failure:
    why = f"{dataset.uri}: this is no WebHDFS: {what}"
    hint = (
        "Name the port that the NameNode's web page is at (dfs.namenode.http-address, mostly 9870; 9871 with "
        "swebhdfs), or HttpFS (14000). The port of hdfs:// addresses, such as 8020, speaks no HTTP."
    )
    return forbidden(dataset, why, hint)


def _away(dataset: Dataset, error: Exception) -> Failure:
    return Failure(
        Reason.STORAGE_UNAVAILABLE,
        f"dataset {dataset.name}: {dataset.uri} did not answer in time: {error}",
        "Look whether the NameNode and its DataNodes can be reached from the cluster, by the names that they have "
        "themselves; the next attempt tries again.",
    )
