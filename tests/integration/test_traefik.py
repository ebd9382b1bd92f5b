"""The counters of the gateway's own program: what it calls a route's backends in them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crds import established
from headrace.kube.resources import Objects
from headrace.rollout.counters import parse_gateway_metrics
from headrace.rollout.traefik import backend_pattern, is_alike
from headrace_local import binaries, ports

TRAEFIK = Path(sys.executable).parent / "traefik"
PATIENCE_SECONDS = 30.0
REVISION = "x-0123abcd"


@dataclass(frozen=True)
class Gateway:
    """Traefik as the chart starts it; it looks for routes in the control plane of the tests."""

    web: int
    metrics: int

    def status(self, path: str) -> int:
        url = f"http://127.0.0.1:{self.web}{path}"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def counters(self) -> str:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{self.metrics}/metrics", timeout=10
        ) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def gateway(control_plane, kubectl, tmp_path_factory) -> Iterator[Gateway]:
    crds = binaries.ensure().gateway_api
    kubectl("apply", "--server-side", "-f", crds)
    established(kubectl.plane, "crd/httproutes.gateway.networking.k8s.io")
    web, metrics = ports.free(2)
    kubectl("create", "namespace", "gw-system")
    kubectl.create(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "test"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "headrace", "namespace": "gw-system"},
            "spec": {
                "gatewayClassName": "test",
                "listeners": [
                    {
                        "name": "http",
                        "protocol": "HTTP",
                        "port": web,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    )
    command = [
        str(TRAEFIK),
        f"--entrypoints.web.address=127.0.0.1:{web}",
        f"--entrypoints.metrics.address=127.0.0.1:{metrics}",
        "--metrics.prometheus=true",
        "--metrics.prometheus.entrypoint=metrics",
        "--metrics.prometheus.addrouterslabels=true",
        "--providers.providersthrottleduration=100ms",
        "--providers.kubernetesgateway=true",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    log = tmp_path_factory.mktemp("traefik") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"KUBECONFIG": str(control_plane.kubeconfig)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Gateway(web, metrics)
        finally:
            process.terminate()
            process.wait(timeout=10)


def route(namespace: str, name: str, path: str, service: str) -> Objects:
    """A route, its Service, and an endpoint that nobody listens at: the gateway answers 502 in its place."""
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "headrace", "namespace": "gw-system"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                    "backendRefs": [{"name": service, "port": 8080, "weight": 100}],
                }
            ],
        },
    }
    behind = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": 8080}]},
    }
    labels = {"kubernetes.io/service-name": service}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": ports.free(1)[0]}],
    }
    return [behind, endpoints, route]


def own_address() -> str:
    """This machine's, as endpoints may not be on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_what_traefik_counts_for_a_route_is_read_unless_one_of_a_like_name_has_the_same_counters(gateway, kubectl):
    """Service x of namespace N-b, and b-x of N: glued together they are one."""
    namespace = f"n{uuid.uuid4().hex[:8]}"
    ours = route(f"{namespace}-b", "x", f"/{namespace}-b/x", REVISION)
    theirs = route(namespace, "b-x", f"/{namespace}/b-x", f"b-{REVISION}")
    for name in (namespace, f"{namespace}-b"):
        kubectl("create", "namespace", name)
    kubectl.create(*ours, *theirs)
    paths = (f"/{namespace}-b/x", f"/{namespace}/b-x")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(gateway.status(path) != 502 for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pattern = backend_pattern(ours[-1], REVISION)
    before = parse_gateway_metrics(gateway.counters(), pattern)

    for path in (paths[0], *paths):
        gateway.status(path)

    after = parse_gateway_metrics(gateway.counters(), pattern)
    assert (after.requests - before.requests, after.errors - before.errors) == (3, 3), "not one name any more"
    assert is_alike(theirs[-1], pattern)
