"""The life of the server: listen, load, serve, and on SIGTERM drain and end.

It listens before the model is loaded, so that liveness and readiness are two different answers.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import uvloop
from aiohttp import web

from headrace_onnxruntime import model as models
from headrace_onnxruntime.batching import BatchRun
from headrace_onnxruntime.failures import Reason, StartError
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.service import Handler, Service
from headrace_onnxruntime.settings import Settings

log = logging.getLogger("headrace_onnxruntime")

# Longer than a proxy keeps an idle connection (Traefik: 90 s): who closes first must not be the one that gets requests.
KEEPALIVE_SECONDS = 180
LINGERING_SECONDS = 2


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(
        {
            "name": settings.model_name,
            "version": settings.model_version,
            "digest": settings.digest,
            "runtime": "onnxruntime",
        }
    )

    def observe(run: BatchRun) -> None:
        metrics.inference_seconds.observe(run.seconds)
        metrics.batch_rows.observe(run.rows)

    heavy = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
    service = Service(settings, metrics, heavy)
    runners = [
        await _listen(service.handle, settings.bind, settings.port),
        await _listen(service.handle_metrics, settings.bind, settings.metrics_port),
    ]
    try:
        loading = asyncio.ensure_future(models.load(settings, observe))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            return 0
        service.serve(await loading)
        # What lives as long as the server need not be looked at by each collection.
        gc.collect()
        gc.freeze()
        log.info("ready: %s version %s on port %d", settings.model_name, settings.model_version, settings.port)
        await stopped
        log.info("draining")
        service.drain()
        is_quiet = await service.quiet(settings.quiet_seconds, settings.grace_seconds)
        if not is_quiet:
            log.error("ending with requests in flight after %g s", settings.grace_seconds)
        return 0 if is_quiet else 1
    finally:
        for listener in runners:
            await listener.cleanup()
        heavy.shutdown(wait=False, cancel_futures=True)


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
            reason, f"Cannot listen on {host}:{port}: {error.strerror}.", "Choose another --port or --metrics-port."
        ) from error
    return runner
