"""The life of the server: load, warm up, listen, serve, and on SIGTERM drain and end.

It listens only when the model can be asked, as the official server does: a probe that reaches the port may go on.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from headrace_serving import lifecycle
from headrace_serving.buffers import Buffers
from headrace_serving.gate import Gate
from headrace_tensorflow_serving import versions
from headrace_tensorflow_serving.metrics import Metrics
from headrace_tensorflow_serving.model import Model
from headrace_tensorflow_serving.settings import Settings

log = logging.getLogger("headrace_tensorflow_serving")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when every request was answered. Raises StartError."""
    return lifecycle.run(partial(_main, settings))


async def _main(settings: Settings, stop: asyncio.Event) -> int:
    version = versions.latest(settings.model_base_path)
    log.info("loading %s version %d from %s", settings.model_name, version.number, version.path)
    executor = ThreadPoolExecutor(max_workers=settings.request_threads, thread_name_prefix="request")
    loading = asyncio.get_running_loop().run_in_executor(executor, _load, settings, version, executor)
    model = await lifecycle.loaded(loading, stop)
    return 0 if model is None else await _serve(settings, model, stop)


def _load(settings: Settings, version: versions.Version, executor: Executor) -> Model:
    """The model, warm. Raises StartError."""
    # Here, because it takes seconds: until it is done the event loop can be told to stop.
    from headrace_tensorflow_serving import engine as engines
    from headrace_tensorflow_serving.warmup import warm_up

    threads = engines.Threads(settings.intra_op_threads, settings.inter_op_threads)
    engine = engines.load(version.path, threads)
    return Model(engine, settings.model_name, version.number, executor, answered=warm_up(engine))


async def _serve(settings: Settings, model: Model, stop: asyncio.Event) -> int:
    from headrace_serving.rpc import RPC_GRACE_SECONDS
    from headrace_tensorflow_serving import rpc
    from headrace_tensorflow_serving.service import Service

    info = {
        "name": model.name,
        "version": str(model.version),
        "digest": settings.digest,
        "runtime": "tensorflow-serving",
    }
    metrics = Metrics(model.name, info)
    gate = Gate(settings.max_in_flight)
    buffers = Buffers(settings.max_buffered_bytes)
    rpc_server = None
    rest_server = None
    try:
        if settings.port:
            rpc_service = rpc.RpcService(settings, model, metrics, gate, buffers)
            rpc_server = await rpc.listen(rpc_service, settings)
        # The last one, because readiness is asked for here.
        service = Service(settings, model, metrics, gate, buffers)
        rest_server = await lifecycle.listen(
            service.handle, settings.bind, settings.rest_api_port, "Choose another --rest_api_port."
        )
        log.info(
            "ready: %s version %d, gRPC on port %d, REST on port %d",
            model.name,
            model.version,
            settings.port,
            settings.rest_api_port,
        )
        return await lifecycle.until_quiet(
            stop, gate, quiet_seconds=settings.quiet_seconds, grace_seconds=settings.grace_seconds
        )
    finally:
        if rpc_server is not None:
            await rpc_server.stop(RPC_GRACE_SECONDS)
        if rest_server is not None:
            await rest_server.cleanup()
