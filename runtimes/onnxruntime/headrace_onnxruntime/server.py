"""The life of the server: listen, load, serve, and on SIGTERM drain and end.

It listens before the model is loaded, so that liveness and readiness are two different answers.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from headrace_onnxruntime import model as models
from headrace_onnxruntime.batching import BatchRun
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.service import Service
from headrace_onnxruntime.settings import Settings
from headrace_serving import lifecycle
from headrace_serving.gate import Gate

log = logging.getLogger("headrace_onnxruntime")

_PORT_HINT = "Choose another --port or --metrics-port."


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    return lifecycle.run(partial(_serve, settings))


async def _serve(settings: Settings, stop: asyncio.Event) -> int:
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

    gate = Gate(settings.max_in_flight)
    heavy = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
    service = Service(settings, metrics, gate, heavy)
    listeners = [
        await lifecycle.listen(service.handle, settings.bind, settings.port, _PORT_HINT),
        await lifecycle.listen(service.handle_metrics, settings.bind, settings.metrics_port, _PORT_HINT),
    ]
    try:
        model = await lifecycle.loaded(asyncio.ensure_future(models.load(settings, observe)), stop)
        if model is None:
            return 0
        service.serve(model)
        log.info("ready: %s version %s on port %d", settings.model_name, settings.model_version, settings.port)
        return await lifecycle.until_quiet(
            stop, gate, quiet_seconds=settings.quiet_seconds, grace_seconds=settings.grace_seconds
        )
    finally:
        for listener in listeners:
            await listener.cleanup()
        heavy.shutdown(wait=False, cancel_futures=True)
