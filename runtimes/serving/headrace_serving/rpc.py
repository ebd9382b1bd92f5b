"""gRPC: methods whose errors become gRPC's, and a server whose messages, connections and clients have bounds.

Which services there are, and what is in their messages, is each server's own. Of those that speak gRPC only: nothing
else here imports it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import grpc

from headrace_serving.failures import CLIENT_CLOSED, Reason, RequestError, StartError

log = logging.getLogger("headrace_serving")

# At the end, for answers that are on their way.
RPC_GRACE_SECONDS = 1
# As of HTTP (connections.py): of one request's metadata, and for a connection to become one of HTTP/2.
_METADATA_BYTES, _MAX_METADATA_BYTES = 64 * 1024, 128 * 1024
_HANDSHAKE_SECONDS = 15
# Of one connection: a client whose requests are more lets them wait. And of all clients: a connection more is closed.
_STREAMS = 64
CONNECTIONS = 128
# What a client may send of a message that nobody has asked for; also the least that HTTP/2 allows for a frame.
_WINDOW_BYTES = 16 * 1024
# Of the time from SIGTERM to the end, by which every client has been asked to connect anew; gRPC adds up to a tenth.
_SHARE_OF_GRACE = 0.6

Method = Callable[[Any, Any], Coroutine[Any, Any, bytes]]
Watch = Callable[[Any, Any], Coroutine[Any, Any, None]]
Receive = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, bytes]]
StatusOf = Callable[[RequestError], grpc.StatusCode]

_STATUS_OF = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CLIENT_CLOSED: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# A client that has a policy for retries keeps to it (gRPC's proposal A6); of HTTP it is Retry-After.
_TRY_AGAIN = "grpc-retry-pushback-ms"


def status_of(error: RequestError) -> grpc.StatusCode:
    """What an error that has a status of HTTP is called by gRPC."""
    return _STATUS_OF[error.status]


def unary(method: Method, receive: Receive, status_of: StatusOf) -> Any:
    """The handler of a method that gets a message as bytes, when `receive` has it, and answers with one."""
    return arriving(_received(method, receive), status_of)


def watching(method: Watch, receive: Receive, status_of: StatusOf, encode: Callable[[Any], bytes]) -> Any:
    """As `unary`, but the method writes any number of answers to its context, each for `encode`."""
    guarded = _guarded(_received(method, receive), status_of)
    return grpc.stream_stream_rpc_method_handler(guarded, response_serializer=encode)


def arriving(method: Method, status_of: StatusOf) -> Any:
    """As `unary`, but the method gets an iterator, and so waits for the message itself.

    To clients it is the same. A unary method of grpc.aio would be called when the message is there, and nothing would
    bound how long that takes, nor how many of them are under way.
    """
    return grpc.stream_unary_rpc_method_handler(_guarded(method, status_of))


def service(name: str, methods: Mapping[str, Any]) -> Any:
    """What a server's add_generic_rpc_handlers takes."""
    return grpc.method_handlers_generic_handler(name, methods)


def server(*, max_message_bytes: int, grace_seconds: float, request_seconds: float | None = None) -> Any:
    """A server without services. One request takes `request_seconds` at most, or as long as its client waits.

    A client keeps its connection and sends all of its requests over it, also when the pod is going. So no connection
    gets old: a client is asked to make another one, which leads to a pod that stays, and loses no request by it.
    """
    age = max(1.0, _SHARE_OF_GRACE * grace_seconds)
    patience = (
        [] if request_seconds is None else [("grpc.max_connection_age_grace_ms", int(1000 * request_seconds) + 1000)]
    )
    return grpc.aio.server(
        options=[
            *patience,
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.max_allowed_incoming_connections", CONNECTIONS),
            ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
            ("grpc.http2.max_frame_size", _WINDOW_BYTES),
            # It would make the window larger for a client that sends much.
            ("grpc.http2.bdp_probe", 0),
            # It refuses the next request of a client that has as many as it may, while gRPC still clears one away.
            ("grpc.http.overload_protection", 0),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_SECONDS * 1000),
            ("grpc.max_connection_age_ms", int(age * 1000)),
            # Otherwise a second server on the same port would take half of the requests.
            ("grpc.so_reuseport", 0),
        ]
    )


async def start(server: Any, host: str, port: int, hint: str) -> None:
    """The server begins to take requests. Raises StartError with `hint`, which names the flag of the port."""
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise StartError(Reason.ADDRESS_IN_USE, f"Cannot listen on {host}:{port} for gRPC.", hint) from error
    await server.start()


def _received(method: Any, receive: Receive) -> Any:
    async def received(arriving: AsyncIterator[bytes], context: Any) -> Any:
        return await method(await receive(arriving), context)

    received.__name__ = method.__name__
    return received


def _guarded(method: Any, status_of: StatusOf) -> Any:
    """The method, whose errors become gRPC's."""

    async def guarded(message: Any, context: Any) -> Any:
        trailing: Any = ()
        try:
            return await method(message, context)
        except RequestError as error:
            code, text = status_of(error), error.message
            if error.status in (429, 503):
                trailing = ((_TRY_AGAIN, str(1000 * error.retry_seconds)),)
        except grpc.aio.AbortError:
            raise
        except Exception:  # whatever it is, the client gets an answer
            log.exception("%s failed", method.__name__)
            code, text = grpc.StatusCode.INTERNAL, "internal error; the server's log says more"
        await context.abort(code, text, trailing)
        raise AssertionError("abort raises")

    return guarded
