"""The life of the server: listen, load, serve, and on SIGTERM drain and end.

It listens before the model is loaded, so that liveness and readiness are two different answers.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

from headrace_serving import lifecycle
from headrace_serving.gate import Gate
from headrace_text import model as models
from headrace_text.metrics import Metrics
from headrace_text.service import Service
from headrace_text.settings import Settings
from headrace_text.texts import Texts

log = logging.getLogger("headrace_text")

_PORT_HINT = "Choose another --port or --metrics-port."


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    return lifecycle.run(partial(_serve, settings))


async def _serve(settings: Settings, stop: asyncio.Event) -> int:
    labels = {"name": settings.model_name, "version": settings.model_version, "digest": settings.digest}
    metrics = Metrics({**labels, "runtime": "text"})
    # Of those that run and wait; how many run is known once the model is there.
    gate = Gate(settings.max_batch + settings.max_queue, full=429)
    texts = Texts(settings, metrics, gate)
    service = Service(settings, texts, gate)
    async with AsyncExitStack() as stack:
        for handler, port in ((service.handle, settings.port), (service.handle_metrics, settings.metrics_port)):
            listener = await lifecycle.listen(handler, settings.bind, port, _PORT_HINT)
            stack.push_async_callback(listener.cleanup)
        model = await lifecycle.loaded(asyncio.ensure_future(models.load(settings)), stop)
        if model is None:
            return 0
        texts.serve(model)
        stack.push_async_callback(texts.close)
        log.info("ready: %s version %s on port %d", settings.model_name, settings.model_version, settings.port)
        return await lifecycle.until_quiet(
            stop, gate, quiet_seconds=settings.quiet_seconds, grace_seconds=settings.grace_seconds
        )
