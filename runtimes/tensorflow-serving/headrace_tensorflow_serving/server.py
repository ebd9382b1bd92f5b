"""The life of the server: load, warm up, listen, serve, and on SIGTERM drain and end.

It listens only when the model can be asked, as the official server does: a probe that reaches the port may go on.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

from headrace_tensorflow_serving import versions
from headrace_tensorflow_serving.buffers import Buffers
from headrace_tensorflow_serving.failures import Reason, StartError
from headrace_tensorflow_serving.gate import Gate
from headrace_tensorflow_serving.metrics import Metrics
from headrace_tensorflow_serving.model import Model
from headrace_tensorflow_serving.settings import Settings

if TYPE_CHECKING:
    from headrace_tensorflow_serving.service import Handler

log = logging.getLogger("headrace_tensorflow_serving")

# Longer than a proxy keeps an idle connection (Traefik: 90 s): who closes first must not be the one that gets requests.
KEEPALIVE_SECONDS = 180
LINGERING_SECONDS = 2

# At the end, for answers of gRPC that are on their way.
RPC_GRACE_SECONDS = 1


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_main(settings))


async def _main(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    version = versions.latest(settings.model_base_path)
    log.info("loading %s version %d from %s", settings.model_name, version.number, version.path)
    executor = ThreadPoolExecutor(max_workers=settings.request_threads, thread_name_prefix="request")
    loading = loop.run_in_executor(executor, _load, settings, version, executor)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        return 0
    return await _serve(settings, await loading, stop)


def _load(settings: Settings, version: versions.Version, executor: Executor) -> Model:
    """The model, warm. Raises StartError."""
    # Here, because it takes seconds: until it is done the event loop can be told to stop.
    from headrace_tensorflow_serving import engine as engines
    from headrace_tensorflow_serving.warmup import warm_up

    threads = engines.Threads(settings.intra_op_threads, settings.inter_op_threads)
    engine = engines.load(version.path, threads)
    warm_up(engine)
    return Model(engine, settings.model_name, version.number, executor)


async def _serve(settings: Settings, model: Model, stop: asyncio.Event) -> int:
    from headrace_tensorflow_serving import rpc
    from headrace_tensorflow_serving.service import Service

    info = {
        "name": model.name,
        "version": str(model.version),
        "digest": settings.digest,
        "runtime": "tensorflow-serving",
    }
    metrics = Metrics(model.name, info)
    gate = Gate(metrics, settings.max_in_flight)
    buffers = Buffers(settings.max_buffered_bytes)
    rpc_server = None
    rest_server = None
    try:
        if settings.port:
            rpc_service = rpc.RpcService(settings, model, metrics, gate, buffers)
            rpc_server = await rpc.listen(rpc_service, settings.bind, settings.port, settings.max_body_bytes)
        # The last one, because readiness is asked for here.
        service = Service(settings, model, metrics, gate, buffers)
        rest_server = await _listen(service.handle, settings.bind, settings.rest_api_port)
        # What lives as long as the server need not be looked at by each collection.
        gc.collect()
        gc.freeze()
        log.info(
            "ready: %s version %d, gRPC on port %d, REST on port %d",
            model.name,
            model.version,
            settings.port,
            settings.rest_api_port,
        )
        await stop.wait()
        log.info("draining")
        gate.drain()
        is_quiet = await gate.quiet(settings.quiet_seconds, settings.grace_seconds)
        if not is_quiet:
            log.error("ending with requests in flight after %g s", settings.grace_seconds)
        return 0 if is_quiet else 1
    finally:
        if rpc_server is not None:
            await rpc_server.stop(RPC_GRACE_SECONDS)
        if rest_server is not None:
            await rest_server.cleanup()


async def _listen(handler: Handler, host: str, port: int) -> web.ServerRunner:
    server = web.Server(
        handler,
        access_log=None,
        auto_decompress=False,  # Unpacking is bounded, and ours.
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        reason = Reason.ADDRESS_IN_USE if error.errno == errno.EADDRINUSE else Reason.BAD_CONFIG
        raise StartError(
            reason, f"Cannot listen on {host}:{port}: {error.strerror}.", "Choose another --rest_api_port."
        ) from error
    return runner
