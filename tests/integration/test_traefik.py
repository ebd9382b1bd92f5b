"""The counters of the gateway's own program: what it calls a route's backends in them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from crds import established
from headrace.api.modelservice import ModelService
from headrace.kube.resources import Objects
from headrace.rollout.counters import parse_gateway_metrics
from headrace.rollout.route import render_path_route, render_route
from headrace.rollout.traefik import backend_pattern, is_alike
from headrace_local import binaries, ports

TRAEFIK = Path(sys.executable).parent / "traefik"
PATIENCE_SECONDS = 120.0
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

    def text(self, path: str, host: str) -> str:
        """The answer, whatever its status; empty while there is none of a backend's."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}", headers={"Host": host})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            return ""

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
    return [*backend(namespace, service, ports.free(1)[0]), route]


def backend(namespace: str, service: str, port: int) -> Objects:
    """A Service, and its endpoint on this machine."""
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
        "ports": [{"name": "http", "port": port}],
    }
    return [behind, endpoints]


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


@contextmanager
def telling(name: str) -> Iterator[int]:
    """A backend that answers with its name and the path that it was asked for; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{name} {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((own_address(), 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("path", [None, "/"])
def test_a_gateway_sends_one_path_to_the_explainer_and_all_others_to_the_servers(gateway, kubectl, path):
    namespace = f"n{uuid.uuid4().hex[:8]}"
    spec = {
        "model": {"uri": "s3://b/m"},
        "runtime": {"name": "onnxruntime"},
        "route": {
            "parentRefs": [{"name": "headrace", "namespace": "gw-system"}],
            "hostnames": [f"{namespace}.example.com"],
            "path": path,
        },
        "explain": {},
    }
    meta = {"name": "x", "namespace": namespace, "uid": "u", "creationTimestamp": "2030-01-01T00:00:00Z"}
    service = ModelService.model_validate({"metadata": meta, "spec": spec})
    own = render_route(service, {"name": "x", "namespace": namespace}, ((REVISION, 100),))
    explain = render_path_route(
        service, {"name": "x-explain", "namespace": namespace}, "/v2/models/x/explain", "x-explain"
    )
    prefix = f"/{namespace}/x" if path is None else ""
    kubectl("create", "namespace", namespace)
    with telling("server") as server, telling("explainer") as explainer:
        kubectl.create(*backend(namespace, REVISION, server), own)
        kubectl.create(*backend(namespace, "x-explain", explainer), explain)

        def asked(path: str) -> str:
            return gateway.text(f"{prefix}{path}", host=f"{namespace}.example.com")

        deadline = time.monotonic() + PATIENCE_SECONDS
        while not asked("/v2/models/x/explain").startswith("explainer"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        pattern = backend_pattern(own, REVISION)
        before = parse_gateway_metrics(gateway.counters(), pattern)

        assert asked("/v2/models/x/explain") == "explainer /v2/models/x/explain"
        for other in ("/v2/models/x/infer", "/v2/models/x/explain/more", "/v2/models/y/explain"):
            assert asked(other) == f"server {other}"
        after = parse_gateway_metrics(gateway.counters(), pattern)
    assert after.requests - before.requests == 3, "explanations are not counted for the revision"
