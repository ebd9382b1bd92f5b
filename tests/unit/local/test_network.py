"""The firewall rules of an instance: one, or three where the host forwards nothing by default."""

from __future__ import annotations

import pytest

from headrace_local import network
from headrace_local.network import Link


@pytest.mark.parametrize(("policy", "chains"), [("ACCEPT", 1), ("DROP", 3)])
def test_rules_follow_the_hosts_forward_policy(policy: str, chains: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "run", lambda command: f"-P FORWARD {policy}\n")
    rules = network._wanted_rules(Link("one", 3))
    assert len(rules) == chains
    assert all("headrace-local/one" in rule for rule in rules)


def test_only_rules_with_the_instances_own_comment_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = """\
-P POSTROUTING ACCEPT
-A POSTROUTING -s 10.213.0.0/30 -m comment --comment "headrace-local/one" -j MASQUERADE
-A POSTROUTING -s 10.213.1.0/30 -m comment --comment "headrace-local/one-more" -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
"""
    monkeypatch.setattr(network, "run", lambda command: listing if "nat" in command else "-P FORWARD ACCEPT\n")
    (rule,) = network._rules_of(Link("one", 0))
    assert rule[:4] == ["nat", "POSTROUTING", "-s", "10.213.0.0/30"]


def test_links_of_different_instances_share_nothing() -> None:
    one, two = Link("one", 0), Link("two", 1)
    assert one.subnet != two.subnet
    assert one.interface != two.interface
    assert len(Link("x", 199).interface) <= 15, "the kernel's limit for an interface's name"
