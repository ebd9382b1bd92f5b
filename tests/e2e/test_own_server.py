"""A server that the release does not know, added by values (own_server.yaml): served, judged by the gateway alone."""

from __future__ import annotations

import hashlib
import json
import urllib.request

import pytest

from open_loop import OpenLoopClient, follow
from platform_under_test import Object, Tenant, condition, first_answer, is_served
from published import publish

RATE = 30.0
GOOD, BETTER, BROKEN = b"good", b"better", b"broken"
ROLLOUT = {
    "steps": [{"weight": 50, "hold": "5s"}],
    "analysis": {
        "interval": "2s",
        "failureLimit": 1,
        "checks": [{"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 30}],
    },
}


@pytest.fixture(scope="module")
def url(tenant: Tenant) -> str:
    """The first model, served by the tests' own container, through the gateway."""
    runtime = {"name": "own", "env": [{"name": "GREETING", "value": "$(MODEL_NAME) $(HOME)"}]}
    tenant.serve("own-server", {"uri": publish(tenant, "own-good", GOOD)}, runtime=runtime, rollout=ROLLOUT)
    tenant.wait("modelservice", "own-server", is_served, 120)
    url = f"{tenant.platform.gateway}/{tenant.namespace}/own-server/"
    first_answer(url, {})
    return url


def roll_out(tenant: Tenant, url: str, name: str, model: bytes, phase: str) -> Object:
    """Requests from now until another model's rollout has ended; the status then."""
    ended = len(tenant.status("modelservice", "own-server").get("history", []))
    patch = {"spec": {"model": {"uri": publish(tenant, name, model)}}}
    tenant.kubectl("patch", "modelservice", "own-server", "--type=merge", "-p", json.dumps(patch))

    def is_over(status: Object) -> bool:
        return status["phase"] == phase and len(status.get("history", [])) > ended

    follow(tenant, "own-server", OpenLoopClient(url, {}, RATE), is_over, 180)
    return tenant.status("modelservice", "own-server")


def test_its_texts_arrive_with_the_four_names_and_nothing_else_replaced(tenant, url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        assert json.load(answer) == {"greeting": "own-server $(HOME)", "model": hashlib.sha256(GOOD).hexdigest()}


def test_a_good_model_takes_over_by_the_gateways_counters_and_a_condition_says_so(tenant, url):
    status = roll_out(tenant, url, "own-better", BETTER, "Stable")

    assert status["history"][-1]["outcome"] == "Promoted", status
    told = condition(status, "PodCounters")
    assert (told["status"], told["reason"]) == ("False", "GatewayOnly"), told


def test_a_model_that_answers_errors_is_turned_back_by_them(tenant, url):
    status = roll_out(tenant, url, "own-broken", BROKEN, "RolledBack")

    assert (status["reason"], status["history"][-1]["outcome"]) == ("AnalysisFailed", "RolledBack"), status
