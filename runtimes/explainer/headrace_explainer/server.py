"""The life of the explainer: listen, load, serve, and on SIGTERM drain and end."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from headrace_explainer import background
from headrace_explainer.explaining import Explainer, require_explainable
from headrace_explainer.metrics import Metrics
from headrace_explainer.service import Service
from headrace_explainer.settings import Settings
from headrace_onnxruntime import engine as engines
from headrace_onnxruntime.warmup import warm_up
from headrace_serving import lifecycle
from headrace_serving.gate import Gate

log = logging.getLogger("headrace_explainer")

_PORT_HINT = "Choose another --port or --metrics-port."
_TOO_MANY = 429


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    return lifecycle.run(partial(_serve, settings))


def load(settings: Settings) -> Explainer:
    """The model of the settings, loaded and warmed up. Raises StartError."""
    engine = engines.load(settings.model_dir, settings.threads)
    require_explainable(engine.signature)
    rows = None if settings.background is None else background.read(settings.background, engine.signature)
    return Explainer(engine, warm_up(engine), rows, settings.max_batch)


async def _serve(settings: Settings, stop: asyncio.Event) -> int:
    metrics = Metrics(
        {
            "name": settings.model_name,
            "version": settings.model_version,
            "digest": settings.digest,
            "runtime": "explainer",
        }
    )
    gate = Gate(settings.concurrency + settings.max_waiting, full=_TOO_MANY)
    executor = ThreadPoolExecutor(max_workers=settings.concurrency + 1, thread_name_prefix="explaining")
    service = Service(settings, metrics, gate, executor)
    listeners = [
        await lifecycle.listen(service.handle, settings.bind, settings.port, _PORT_HINT),
        await lifecycle.listen(service.handle_metrics, settings.bind, settings.metrics_port, _PORT_HINT),
    ]
    try:
        loading = asyncio.get_running_loop().run_in_executor(executor, load, settings)
        explainer = await lifecycle.loaded(loading, stop)
        if explainer is None:
            return 0
        service.serve(explainer)
        log.info("ready: %s version %s on port %d", settings.model_name, settings.model_version, settings.port)
        return await lifecycle.until_quiet(
            stop, gate, quiet_seconds=settings.quiet_seconds, grace_seconds=settings.grace_seconds
        )
    finally:
        for listener in listeners:
            await listener.cleanup()
        executor.shutdown(wait=False, cancel_futures=True)
