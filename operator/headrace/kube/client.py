"""The only way to the API server: raw HTTP with dicts in and out, on one aiohttp session.

Reads are free; every write first asks `may_write` (the Lease) and raises `LeaseLost` when it says no. Nothing is
retried here: a failed call becomes one of the types in `errors`, and the work queue looks again later.
"""

import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from headrace.kube.credentials import Credentials
from headrace.kube.errors import (
    ApiUnavailable,
    Conflict,
    Forbidden,
    Invalid,
    KindNotFound,
    KubeError,
    LeaseLost,
    NotFound,
)
from headrace.kube.resources import Object, Objects, Resource
from headrace.labels import FIELD_MANAGER

CALL_SECONDS = 10.0
CONNECT_SECONDS = 3.0
UNACKNOWLEDGED_MS = 3000
PAGE_SIZE = 500

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE_PATCH = "application/merge-patch+json"
_ERRORS: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: ApiUnavailable,
}

_UNTYPED = "failed to create typed patch object"

log = logging.getLogger(__name__)


class KubeClient:
    """Use `connect`, and `close` at the end; or `async with KubeClient.session(...) as client`."""

    def __init__(
        self,
        credentials: Credentials,
        http: aiohttp.ClientSession,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.credentials = credentials
        self._http = http
        self._may_write = may_write

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        may_write: Callable[[], bool] = lambda: True,
        user_agent: str = "headrace",
    ) -> "KubeClient":
        credentials = await Credentials.load(kubeconfig)
        connector = aiohttp.TCPConnector(ssl=credentials.ssl_context(), socket_factory=_socket)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        http = aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"User-Agent": user_agent})
        return cls(credentials, http, may_write)

    @classmethod
    @asynccontextmanager
    async def session(
        cls,
        kubeconfig: Path | None = None,
        *,
        may_write: Callable[[], bool] = lambda: True,
        user_agent: str = "headrace",
    ) -> "AsyncIterator[KubeClient]":
        client = await cls.connect(kubeconfig, may_write=may_write, user_agent=user_agent)
        try:
            yield client
        finally:
            await client.close()

    def guarded(self, may_write: Callable[[], bool]) -> "KubeClient":
        """The same connection, whose writes ask `may_write` first."""
        return KubeClient(self.credentials, self._http, may_write)

    async def close(self) -> None:
        await self._http.close()

    # -- reads ---------------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object as it is now, or None when it does not exist. KindNotFound when the kind is not installed."""
        try:
            return await self._object("GET", resource, namespace, name)
        except KindNotFound:
            # Whoever acts on None deletes what belongs to the object.
            raise
        except NotFound:
            return None

    async def list(
        self, resource: Resource, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> Objects:
        """All objects, of one namespace or of all, that match the label and field selectors; read in pages.

        KindNotFound when the kind is not installed.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        params = {"limit": str(PAGE_SIZE)} | {name: selector for name, selector in selectors.items() if selector}
        while True:
            try:
                return await self._pages(resource, namespace, params)
            except KubeError as error:
                if error.status != 410:
                    raise
                # The snapshot that the pages come from was compacted meanwhile: read everything in one answer.
                params.pop("limit")

    # -- writes --------------------------------------------------------------------------------------------------------

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Conflict (reason AlreadyExists) when an object of this name exists."""
        namespace = obj["metadata"].get("namespace")
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        answer = await self.request(
            "POST",
            resource.path(namespace),
            params={"fieldManager": FIELD_MANAGER},
            body=body,
            what=_name(resource, namespace, obj["metadata"].get("name", "")),
        )
        return _parse(answer)

    async def apply(
        self,
        resource: Resource,
        obj: Object,
        field_manager: str = FIELD_MANAGER,
        force: bool = True,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply. With metadata.uid in `obj` only that very object is changed, and none is created. With
        `dry_run` nothing is: the answer is the object as it would be.
        """
        metadata = obj["metadata"]
        return await self._object(
            "PATCH",
            resource,
            metadata.get("namespace"),
            metadata["name"],
            params={"fieldManager": field_manager, "force": "true" if force else "false"}
            | ({"dryRun": "All"} if dry_run else {}),
            body={"apiVersion": resource.api_version, "kind": resource.kind, **obj},
            content_type=_APPLY,
        )

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        """JSON merge patch; metadata.resourceVersion and metadata.uid in the patch are preconditions (Conflict)."""
        return await self._object(
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            params={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type=_MERGE_PATCH,
        )

    async def replace(self, resource: Resource, obj: Object, subresource: str = "") -> Object:
        """PUT of an object that was read: Conflict when it changed since, or is another one of the same name."""
        metadata = obj["metadata"]
        return await self._object(
            "PUT",
            resource,
            metadata.get("namespace"),
            metadata["name"],
            subresource,
            params={"fieldManager": FIELD_MANAGER},
            body={"apiVersion": resource.api_version, "kind": resource.kind, **obj},
        )

    async def patch_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """Replace the status of the object as it was read: what `status` leaves out is gone.

        A PUT and not a patch: it alone refuses another uid (Conflict) beside a stale resourceVersion (Conflict).
        """
        missing = [field for field in ("resourceVersion", "uid") if not obj["metadata"].get(field)]
        if missing:
            raise ValueError(f"status of {_of(resource, obj)} needs metadata.{missing[0]} of the object that was read")
        return await self.replace(resource, {**obj, "status": status}, "status")

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete this very object. One that is gone is fine; another uid or a newer resourceVersion is a Conflict."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions,
        }
        try:
            await self._object("DELETE", resource, namespace, name, body=options)
        except KindNotFound:
            raise
        except NotFound:
            log.debug("%s is gone already", _name(resource, namespace, name))

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
        what: str = "",
    ) -> bytes:
        """One HTTP request; the body of a good answer. `what` names the object in an error's message."""
        subject = f"{method} {what or path}"
        headers = await self.credentials.headers() | ({"Content-Type": content_type} if body is not None else {})
        data = json.dumps(body).encode() if body is not None else None
        url = self.credentials.endpoint.server + path
        # As late as can be: reading the credentials may have taken its time.
        if method != "GET" and not self._may_write():
            raise LeaseLost(f"{subject}: not sent, this process does not hold the lease")
        try:
            async with self._http.request(method, url, params=params, data=data, headers=headers) as response:
                answer = await response.read()
        except TimeoutError as error:
            raise ApiUnavailable(f"{subject}: the API server did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnavailable(f"{subject}: no connection to the API server: {error}") from error
        if response.status >= 300:
            raise _error(subject, response.status, answer)
        return answer

    async def _object(
        self,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str,
        subresource: str = "",
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
    ) -> Object:
        answer = await self.request(
            method,
            resource.path(namespace, name, subresource),
            params=params,
            body=body,
            content_type=content_type,
            what=_name(resource, namespace, name, subresource),
        )
        return _parse(answer)

    async def _pages(self, resource: Resource, namespace: str | None, params: Mapping[str, str]) -> Objects:
        found: Objects = []
        token = ""
        while True:
            query = {**params, "continue": token} if token else params
            where = f" in {namespace}" if namespace else ""
            what = f"list of {resource.kind}{where}"
            page = _parse(await self.request("GET", resource.path(namespace), params=query, what=what))
            # Items of a list come without the two fields that say what they are.
            typed = {"apiVersion": resource.api_version, "kind": resource.kind}
            found += [typed | item for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                return found


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket whose unacknowledged data the kernel gives up after UNACKNOWLEDGED_MS.

    By default it goes on delivering for minutes: a write that was cancelled because the lease was lost would arrive
    after another process became active.
    """
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return sock


def _parse(answer: bytes) -> Object:
    parsed: Object = json.loads(answer)
    return parsed


def _name(resource: Resource, namespace: str | None, name: str, subresource: str = "") -> str:
    prefix = f"{subresource} of " if subresource else ""
    return f"{prefix}{resource.kind} {namespace}/{name}" if namespace else f"{prefix}{resource.kind} {name}"


def _of(resource: Resource, obj: Object) -> str:
    return _name(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])


def _error(subject: str, status: int, answer: bytes) -> KubeError:
    said = _status(answer)
    message, reason = said.get("message") or answer.decode(errors="replace")[:300], said.get("reason", "")
    kind = _ERRORS.get(status, ApiUnavailable if status >= 500 else KubeError)
    if _UNTYPED in message:
        kind = Invalid  # a field that the type does not have: the API server calls it its own fault (500)
    if kind is NotFound and not (said.get("details") or {}).get("name"):
        kind = KindNotFound
    return kind(f"{subject}: {status} {reason}: {message}".rstrip(": "), status=status, reason=reason)


def _status(answer: bytes) -> Object:
    """The Status object that the API server explains itself with; empty when somebody else answered."""
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}
