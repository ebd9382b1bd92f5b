"""How the answer of somebody else's code is read: whole, within bounds, and from nowhere else."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from headrace.scrape import read_bounded
from headrace.training import reconcile
from headrace.training.reconcile import TrainingReconciler
from training_builders import NOW, SETTINGS, pod, stamp, training_job

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def in_pieces(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for piece in (b'{"protocol": 1, "state"', b': "Training", "metrics"', b': {"loss": 0.5}}'):
        await answer.write(piece)
        await asyncio.sleep(0.05)
    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b"x" * 4096)


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/secret")


async def secret(request: web.Request) -> web.StreamResponse:
    return web.Response(text="secret")


async def refusing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="{}")


async def packed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"0" * 1_000_000), headers={"Content-Encoding": "gzip"})


def served(handler: Handler, ask: Callable[[aiohttp.ClientSession, int], Awaitable[object]]) -> object:
    """What `ask` gets while `handler` answers on a port of its own, which it is told."""

    async def serve() -> object:
        app = web.Application()
        app.router.add_get("/progress", handler)
        app.router.add_get("/secret", secret)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with aiohttp.ClientSession() as http:
                return await ask(http, runner.addresses[0][1])
        finally:
            await runner.cleanup()

    return asyncio.run(serve())


def read(handler: Handler) -> object:
    return served(handler, lambda http, port: read_bounded(http, f"http://127.0.0.1:{port}/progress", 65536))


def test_an_answer_in_pieces_is_read_to_its_end():
    assert read(in_pieces) == b'{"protocol": 1, "state": "Training", "metrics": {"loss": 0.5}}'


@pytest.mark.parametrize("handler", [endless, elsewhere, refusing])
def test_an_answer_without_end_from_elsewhere_or_of_trouble_is_none(handler):
    assert read(handler) is None


def test_an_answer_that_was_packed_unasked_is_not_unpacked():
    assert len(read(packed)) < 10_000


def test_progress_comes_through_in_pieces_and_is_not_followed_elsewhere(monkeypatch):
    attempt = {"number": 1, "job": "text-1", "jobUID": "u", "startedAt": stamp(NOW)}
    job = training_job({"state": "Running", "attempt": attempt})
    chief = replace(pod(0), ip="127.0.0.1")

    async def ask(http: aiohttp.ClientSession, port: int) -> object:
        monkeypatch.setattr(reconcile, "PROGRESS_PORT", port)
        return await TrainingReconciler(None, http, SETTINGS, None)._progress(job, (chief,))

    assert served(in_pieces, ask).metrics == {"loss": 0.5}
    assert served(elsewhere, ask) is None
