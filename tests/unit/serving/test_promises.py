"""What status promises the registry; the real registry's part is in tests/integration/platform."""

import asyncio

import pytest

from headrace.serving.promises import keep
from headrace.tracking.errors import AliasMovedExternally, NotFound
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import DIFFERENCE_TAG, REASON_TAG, ROLLOUT_TAG, ModelVersion, RegisteredModel
from serving_builders import model_service

MODEL = "team-a.text"


class Client:
    """A registry of one model."""

    def __init__(self, **aliases):
        self.aliases = aliases
        self.tags = {}

    async def set_model_version_tag(self, model, version, key, value):
        self.tags.setdefault(version, {})[key] = value

    async def get_registered_model(self, name):
        return RegisteredModel(name)

    async def set_registered_model_tag(self, name, key, value):
        pass

    async def get_model_version_by_alias(self, model, alias):
        if alias not in self.aliases:
            raise NotFound(alias)
        return ModelVersion(model, self.aliases[alias], "")

    async def set_alias(self, model, alias, version):
        self.aliases[alias] = version


def promises(version, expected=None):
    promotion = {"alias": "champion", "pendingVersion": version} | ({"expectedVersion": expected} if expected else {})
    stable = {"revision": "text-1", "model": {"name": MODEL, "version": version}}
    return model_service({"stable": stable, "promotion": promotion})


def test_a_version_that_is_refused_says_in_what_it_differs_and_others_do_not():
    client, outcomes = Client(champion="8"), [("9", "Refused", "y is missing"), ("7", "Superseded", None)]
    pending = [
        {"version": version, "outcome": outcome, "reason": "R"} | ({"difference": differs} if differs else {})
        for version, outcome, differs in outcomes
    ]
    stable = {"revision": "text-1", "model": {"name": MODEL, "version": "8"}}

    status, _ = asyncio.run(keep(model_service({"stable": stable, "pendingOutcomes": pending}), Ledger(client)))

    assert client.tags == {
        "9": {ROLLOUT_TAG: "Refused", REASON_TAG: "R", DIFFERENCE_TAG: "y is missing"},
        "7": {ROLLOUT_TAG: "Superseded", REASON_TAG: "R"},
    }
    assert status.pending_outcomes == ()


def test_an_alias_that_is_set_is_not_taken_over_by_a_service_that_never_moved_it():
    client = Client(champion="7")

    with pytest.raises(AliasMovedExternally, match="at version 7"):
        asyncio.run(keep(promises("8"), Ledger(client)))

    assert client.aliases == {"champion": "7"}


@pytest.mark.parametrize(("aliases", "expected"), [({}, None), ({"champion": "8"}, None), ({"champion": "7"}, "7")])
def test_an_alias_that_is_free_or_the_services_own_is_moved(aliases, expected):
    client = Client(**aliases)

    status, _ = asyncio.run(keep(promises("8", expected), Ledger(client)))

    assert client.aliases == {"champion": "8"}
    assert (status.promotion.expected_version, status.promotion.pending_version) == ("8", None)
