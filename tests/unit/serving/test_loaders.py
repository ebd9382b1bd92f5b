"""Loaders are asked beside the passes."""

import asyncio
from datetime import timedelta

from headrace.kube.keys import Key
from headrace.kube.resources import MODELSERVICES
from headrace.serving.loaders import Loaders
from headrace.serving.loading import ASK_EVERY
from headrace_common.protocol.loading import Loading
from serving_builders import NOW, serving_pod

KEY = Key(MODELSERVICES, "team-a", "text")
ANSWER = Loading(bytes=4, total_bytes=8, fetched_bytes=4, seconds=1.0)
AT_WORK = serving_pod("a", "text-1", ready=False, loader_port=9400)


class Slow:
    """Pods that do not answer before a test says so."""

    def __init__(self):
        self.answers, self.asked = asyncio.Event(), 0

    async def of_loaders(self, pods):
        self.asked += 1
        await self.answers.wait()
        return {pod.name: ANSWER for pod in pods}


def test_a_pass_goes_on_while_a_loader_does_not_answer_and_a_later_one_has_the_answer():
    async def passes():
        pods = Slow()
        loaders = Loaders(pods)
        async with asyncio.timeout(60):
            for _ in range(3):
                assert await loaders.told(KEY, (AT_WORK,), NOW) == (AT_WORK,)
            pods.answers.set()
            [answered] = await loaders.told(KEY, (AT_WORK,), NOW)
            while answered.loading is None:
                [answered] = await loaders.told(KEY, (AT_WORK,), NOW)
            assert (answered.loading, pods.asked) == (ANSWER, 1)
            assert await loaders.told(KEY, (AT_WORK,), NOW + ASK_EVERY / 2) == (AT_WORK,)
            await loaders.told(KEY, (AT_WORK,), NOW + ASK_EVERY + timedelta(seconds=1))
            assert pods.asked == 2

    asyncio.run(passes())


def test_an_answer_that_comes_late_is_not_told_of_a_loader_that_has_ended():
    async def passes():
        pods = Slow()
        loaders, other = Loaders(pods), serving_pod("b", "text-1", ready=False, loader_port=9400)
        await loaders.told(KEY, (AT_WORK, other), NOW)
        pods.answers.set()
        ended = serving_pod("a", "text-1")
        async with asyncio.timeout(60):
            found = await loaders.told(KEY, (ended, other), NOW)
            while found[1].loading is None:
                found = await loaders.told(KEY, (ended, other), NOW)
        assert found[0] == ended
        await loaders.close()

    asyncio.run(passes())
