"""One reading of the registry answers everybody's questions of a slot."""

import asyncio

from headrace.tracking.aliases import LEEWAY_SECONDS, Aliases, AliasTarget
from headrace.tracking.errors import TrackingUnavailable
from headrace.tracking.records import RegisteredModel


class Registry:
    """MLflow with one model; counts how often it is read."""

    def __init__(self):
        self.model = RegisteredModel("team-a.text", created=1, aliases={"candidate": "1"})
        self.reads = 0
        self.away = False
        self.hangs = None

    async def search_registered_models(self, tag):
        assert tag == "headrace.namespace"
        self.reads += 1
        await (self.hangs.wait() if self.hangs is not None else asyncio.sleep(0))
        if self.away:
            raise TrackingUnavailable("away")
        return [self.model]


class Time:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


async def turns():
    """As many of the event loop as a reading needs to come to its end."""
    for _ in range(20):
        await asyncio.sleep(0)


def ask(scenario):
    registry, time = Registry(), Time()

    async def main():
        aliases = Aliases(registry, slot_seconds=10.0, clock=time, patience_seconds=0.5)
        return await scenario(aliases, registry, time)

    return asyncio.run(main())


def test_a_hundred_questions_of_a_slot_are_one_request():
    async def scenario(aliases, registry, time):
        answers = await asyncio.gather(*(aliases.find("team-a.text", "candidate") for _ in range(100)))
        time.now += 9.9
        answers.append(await aliases.find("team-a.text", "candidate"))
        return set(answers), registry.reads

    assert ask(scenario) == ({AliasTarget("1", 1)}, 1)


def test_who_asks_at_the_start_of_the_next_slot_learns_of_a_move():
    async def scenario(aliases, registry, time):
        time.now += 3.0
        await aliases.find("team-a.text", "candidate")
        registry.model = RegisteredModel("team-a.text", created=1, aliases={"candidate": "2"})
        wait = aliases.seconds_to_next()
        time.now += wait
        return wait, await aliases.find("team-a.text", "candidate")

    assert ask(scenario) == (7.0 + LEEWAY_SECONDS, AliasTarget("2", 1))


def test_a_model_made_anew_is_another_target_at_the_same_version():
    async def scenario(aliases, registry, time):
        before = await aliases.find("team-a.text", "candidate")
        registry.model = RegisteredModel("team-a.text", created=2, aliases={"candidate": "1"})
        time.now += 10.0
        return before == await aliases.find("team-a.text", "candidate")

    assert ask(scenario) is False


def test_what_is_not_there_is_no_target():
    async def scenario(aliases, registry, time):
        return [await aliases.find("team-a.text", "champion"), await aliases.find("team-a.other", "candidate")]

    assert ask(scenario) == [None, None]


def test_an_mlflow_that_is_away_knows_nothing_and_is_asked_once_a_slot():
    async def scenario(aliases, registry, time):
        await aliases.find("team-a.text", "candidate")
        registry.away = True
        time.now += 10.0
        away = [await aliases.find("team-a.text", "candidate") for _ in range(3)]
        registry.away = False
        time.now += 10.0
        return away, await aliases.find("team-a.text", "candidate"), registry.reads

    assert ask(scenario) == ([None] * 3, AliasTarget("1", 1), 3)


def test_while_mlflow_does_not_answer_the_last_slot_is_what_is_known_and_nobody_waits_long():
    async def scenario(aliases, registry, time):
        before = await aliases.find("team-a.text", "candidate")
        registry.hangs, time.now = asyncio.Event(), time.now + 10.0
        loop = asyncio.get_running_loop()
        begun = loop.time()
        meanwhile = [await aliases.find("team-a.text", "candidate") for _ in range(20)]
        waited = loop.time() - begun
        registry.model = RegisteredModel("team-a.text", created=1, aliases={"candidate": "2"})
        registry.hangs.set()
        await turns()
        after = await aliases.find("team-a.text", "candidate")
        return before, set(meanwhile), waited < 5.0, after  # a moment each would be ten seconds

    assert ask(scenario) == (AliasTarget("1", 1), {AliasTarget("1", 1)}, True, AliasTarget("2", 1))


def test_a_reading_that_took_longer_than_its_slot_is_not_taken_for_the_next_ones():
    async def scenario(aliases, registry, time):
        registry.hangs = asyncio.Event()
        assert await aliases.find("team-a.text", "candidate") is None
        time.now += 10.0
        registry.hangs.set()
        await turns()
        await aliases.find("team-a.text", "candidate")
        return registry.reads

    assert ask(scenario) == 2
