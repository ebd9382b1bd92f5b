"""The life of a server on its event loop: told to stop, loading, listening, and on SIGTERM draining to the end.

In which order it loads and listens, and what it listens for, is each server's own: its server.py.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import uvloop
from aiohttp import web

from headrace_serving.answers import Handler
from headrace_serving.connections import Server
from headrace_serving.failures import Reason, StartError
from headrace_serving.gate import Gate

log = logging.getLogger("headrace_serving")

Model = TypeVar("Model")


def run(serve: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """What `serve` gives: the exit code. The event is set by SIGTERM and SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(serve))


async def _until_told(serve: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await serve(stop)


async def loaded(loading: asyncio.Future[Model], stop: asyncio.Event) -> Model | None:
    """The model; None when the server is told to stop before it is there, and loading is given up."""
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        return await loading
    loading.cancel()
    with suppress(asyncio.CancelledError):
        await loading
    return None


async def listen(handler: Handler, host: str, port: int, hint: str) -> web.ServerRunner:
    """The server, which has begun to take requests. Raises StartError with `hint`, which names the flag of the port."""
    runner = web.ServerRunner(Server(handler), handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        reason = Reason.ADDRESS_IN_USE if error.errno == errno.EADDRINUSE else Reason.BAD_CONFIG
        raise StartError(reason, f"Cannot listen on {host}:{port}: {error.strerror}.", hint) from error
    return runner


async def until_quiet(stop: asyncio.Event, gate: Gate, *, quiet_seconds: float, grace_seconds: float) -> int:
    """From the moment that the server is ready to its end. The exit code: 0 when every request was answered."""
    # What lives as long as the server need not be looked at by each collection.
    gc.collect()
    gc.freeze()
    await stop.wait()
    log.info("draining")
    gate.drain()
    is_quiet = await gate.quiet(quiet_seconds, grace_seconds)
    if not is_quiet:
        log.error("ending with requests in flight after %g s", grace_seconds)
    return 0 if is_quiet else 1
