"""The life of the server: listen, load, serve, and on SIGTERM drain and end.

It listens before the model is loaded, so that liveness and readiness are two different answers.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

from headrace_onnxruntime import model as models
from headrace_onnxruntime.batching import BatchRun
from headrace_onnxruntime.inferences import Inferences
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.rpc.service import RpcService
from headrace_onnxruntime.service import Service
from headrace_onnxruntime.settings import Settings
from headrace_serving import lifecycle
from headrace_serving.gate import Gate
from headrace_serving.rpc import RPC_GRACE_SECONDS

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
    inferences = Inferences(settings, metrics, gate)
    service = Service(settings, inferences, gate)
    async with AsyncExitStack() as stack:
        stack.callback(inferences.close)
        for handler, port in ((service.handle, settings.port), (service.handle_metrics, settings.metrics_port)):
            listener = await lifecycle.listen(handler, settings.bind, port, _PORT_HINT)
            stack.push_async_callback(listener.cleanup)
        rpc = RpcService(settings, inferences)
        if settings.grpc_port:
            stack.push_async_callback((await rpc.listen()).stop, RPC_GRACE_SECONDS)
        model = await lifecycle.loaded(asyncio.ensure_future(models.load(settings, observe)), stop)
        if model is None:
            return 0
        inferences.serve(model)
        await rpc.say_ready()
        log.info("ready: %s version %s on port %d", settings.model_name, settings.model_version, settings.port)
        ending = asyncio.ensure_future(_say_unready(rpc, stop))
        stack.callback(ending.cancel)
        return await lifecycle.until_quiet(
            stop, gate, quiet_seconds=settings.quiet_seconds, grace_seconds=settings.grace_seconds
        )


async def _say_unready(rpc: RpcService, stop: asyncio.Event) -> None:
    await stop.wait()
    await rpc.say_unready()
