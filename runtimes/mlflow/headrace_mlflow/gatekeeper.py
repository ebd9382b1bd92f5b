"""ASGI middleware in front of all of MLflow: what `policy` keeps for administrators reaches it from them only.

It stands before both of MLflow's applications (Flask and FastAPI), so no route goes round it. MLflow checks credentials
and grants again behind it.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace_mlflow.policy import REFUSAL, Access, access

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

IsAdministrator = Callable[[str, str], bool | None]


class UsersUnavailable(Exception):
    """Nobody can say now who the users are; the message says why."""


class Gatekeeper:
    """`is_administrator(username, password)`: True or False for a user, None for wrong credentials; raises
    UsersUnavailable. It may block.
    """

    def __init__(self, application: Application, is_administrator: IsAdministrator) -> None:
        self._application = application
        self._is_administrator = is_administrator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := await self._refusal(scope)):
            await _answer(send, *refusal)
            return
        await self._application(scope, receive, send)

    async def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        who_may = access(scope["method"], scope["path"])
        if who_may is Access.USERS:
            return None
        if who_may is Access.NOBODY:
            return 404, "ENDPOINT_NOT_FOUND", "this part of MLflow is turned off in Headrace's image"
        credentials = _basic_credentials(scope)
        try:
            known = await asyncio.to_thread(self._is_administrator, *credentials) if credentials else None
        except UsersUnavailable as error:
            return 503, "TEMPORARILY_UNAVAILABLE", str(error)
        if known is None:
            return 401, "UNAUTHENTICATED", "user name or password missing or wrong"
        return None if known else (403, "PERMISSION_DENIED", f"Refused by Headrace: {REFUSAL}")


def _basic_credentials(scope: Scope) -> tuple[str, str] | None:
    for name, value in scope["headers"]:
        scheme, _, encoded = value.partition(b" ")
        if name.lower() == b"authorization" and scheme.lower() == b"basic":
            try:
                username, separator, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return (username, password) if separator else None
    return None


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="mlflow"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
