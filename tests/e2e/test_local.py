"""`headrace local`: what comes up, what it serves, and that nothing of it is left on the machine afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from audit_log import AuditLog
from headrace_local import members
from headrace_local.controlplane import ControlPlane
from headrace_local.instance import Instance, quiet

ONE, TWO, BROKEN = "e2e-one", "e2e-two", "e2e-broken"
SYSCTLS = ("net/ipv4/ip_forward", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom")

DOCKERFILE = """\
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
ARG ANSWER
RUN mkdir /srv/www && echo "${ANSWER}" > /srv/www/index.html
RUN --mount=type=secret,id=ca if [ -f /run/secrets/ca ]; then sha256sum < /run/secrets/ca > /srv/www/seen; fi
CMD ["python3", "-m", "http.server", "8000", "--directory", "/srv/www"]
"""

WORKLOAD = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  securityContext: {runAsUser: 65532, runAsGroup: 65532}
  containers:
  - name: web
    image: headrace.local/answer:dev
    readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 10}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
"""


@dataclass(frozen=True)
class HostSnapshot:
    """What of the machine an instance could have changed."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    routes: frozenset[str]
    namespaces: frozenset[str]
    rules: frozenset[str]
    sysctls: frozenset[str]
    folders: frozenset[str]

    @classmethod
    def take(cls) -> HostSnapshot:
        return cls(
            processes=frozenset(
                f"{name}: {member.component}" for name in (ONE, TWO, BROKEN) for member in members.of(name)
            )
            | _strays(),
            mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            # Walked by what does not mind that a pod of another cluster ends meanwhile.
            cgroups=frozenset(path for path, *_ in os.walk("/sys/fs/cgroup") if _is_ours(Path(path))),
            interfaces=frozenset(link["ifname"] for link in json.loads(_run("ip", "-json", "link"))),
            routes=frozenset(
                line for table in (("route",), ("-6", "route"), ("rule",)) for line in _run("ip", *table).splitlines()
            ),
            # Network namespaces that no process is in are mounts.
            namespaces=frozenset(re.findall(r"net:\[[0-9]+\]", Path("/proc/self/mountinfo").read_text())),
            rules=frozenset(
                line
                for program in ("iptables-save", "ip6tables-save")
                for line in _run(program).splitlines()
                if line.startswith("-")
            ),
            sysctls=frozenset(f"{name}={(Path('/proc/sys') / name).read_text().strip()}" for name in SYSCTLS),
            folders=frozenset(
                str(path)
                for parent in ("/run", "/run/headrace", "/var/lib", "/var/log")
                if Path(parent).is_dir()
                for path in Path(parent).iterdir()
                if path.is_dir() and path != Path("/run/headrace")
            ),
        )

    def differences(self, before: HostSnapshot) -> dict[str, frozenset[str]]:
        """What is there now and was not, or was and is not, by kind."""
        changes = {field.name: getattr(self, field.name) ^ getattr(before, field.name) for field in fields(self)}
        return {name: changed for name, changed in changes.items() if changed}


def _strays() -> frozenset[str]:
    """Processes that the instances do not know of and that have to do with them: by command line or control group."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            seen = (process / "cmdline").read_text() + (process / "cgroup").read_text()
        except OSError:
            continue
        if any(re.search(rf"\b{name}\b", seen) for name in (ONE, TWO, BROKEN)):
            found.add(f"{process.name} {seen[:60]!r}")
    return frozenset(found)


def _is_ours(path: Path) -> bool:
    return any(f"headrace-{name}" in path.parts for name in (ONE, TWO, BROKEN))


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _get(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return str(response.read().decode()).strip()


def _eventually(condition: Callable[[], bool], *, what: str, timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        return bool(_get(port))
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module", autouse=True)
def _purge() -> Iterator[None]:
    yield
    for name in (ONE, TWO, BROKEN):
        quiet(name).down(purge=True)


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Whatever a test does: before and after it the machine is the same."""
    before = HostSnapshot.take()
    yield
    for name in (ONE, TWO, BROKEN):
        quiet(name).down()
    assert HostSnapshot.take().differences(before) == {}
    for name in (ONE, TWO, BROKEN):
        assert not quiet(name).paths.state.exists()


def _serve(instance: Instance, folder: Path) -> int:
    """A pod and a Service that answer with the instance's name; returns the loopback port that leads to them."""
    (folder / "Dockerfile").write_text(DOCKERFILE)
    instance.build("headrace.local/answer:dev", folder, build_args={"ANSWER": instance.name})
    instance.kubectl("apply", "-f", "-", stdin=WORKLOAD)
    instance.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
    port = instance.forward("web", 80)
    _eventually(lambda: _answers(port), what="kube-proxy knows the Service's endpoint")
    return port


def test_two_instances_side_by_side_each_serve_their_own_pod(tmp_path: Path) -> None:
    one, two = quiet(ONE), quiet(TWO)
    one.up()
    two.up()

    ports = {instance.name: _serve(instance, tmp_path) for instance in (one, two)}

    assert {name: _get(port) for name, port in ports.items()} == {ONE: ONE, TWO: TWO}
    assert one.forward("web", 80) == ports[ONE], "asked again, the same port"

    # The build's secret was there for its step, and is not in the image.
    if "SSL_CERT_FILE" in os.environ or "PIP_CERT" in os.environ:
        assert re.match(r"[0-9a-f]{64}", _get(ports[ONE], "/seen"))
    with pytest.raises(Exception, match="No such file"):
        one.kubectl("exec", "web", "--", "cat", "/run/secrets/ca")

    # A program that is not root writes to its volume, and reaches its own Service by name.
    connect = "import socket; socket.create_connection(('web.default.svc', 80), 5)"
    one.kubectl("exec", "web", "--", "sh", "-c", "echo kept > /data/file")
    one.kubectl("exec", "web", "--", "python3", "-c", connect)
    assert list(one.paths.state.glob("private/tmp-hostpath_pv/*/file"))

    # One goes, the other goes on.
    one.down()
    assert _get(ports[TWO]) == TWO
    assert not _answers(ports[ONE])


def test_up_again_changes_nothing_and_brings_back_what_was_killed() -> None:
    instance = quiet(ONE)
    instance.up()
    kubeconfig = instance.kubeconfig.read_text()
    before = {status.component: status.pid for status in instance.status()}
    instance.kubectl("create", "namespace", "kept")

    instance.up()
    assert {status.component: status.pid for status in instance.status()} == before

    killed = before["kube-apiserver"]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    _eventually(lambda: not instance.is_running(), what="the API server is seen to be gone")
    instance.up()
    assert instance.is_running()
    assert instance.kubeconfig.read_text() == kubeconfig

    # As after a reboot: everything is gone but the files.
    members.kill_all(instance.name)
    instance.up()
    assert instance.kubectl("get", "namespace", "kept", "-o=name").strip() == "namespace/kept"


@pytest.mark.parametrize("reached", ["holder", "containerd", "kubelet"])
def test_up_killed_in_the_middle_can_be_taken_down(reached: str) -> None:
    process = _begin_up(reached)

    process.kill()
    process.wait(timeout=10)

    assert members.of(BROKEN), "what was begun goes on without its starter"
    assert _command("down").returncode == 0
    assert not members.of(BROKEN)


def test_interrupted_up_takes_away_what_it_began() -> None:
    process = _begin_up("kube-apiserver")

    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=60) == 130
    assert not members.of(BROKEN)
    assert not quiet(BROKEN).paths.state.exists()


def test_status_says_what_runs_and_what_does_not() -> None:
    answer = _command("status")

    assert answer.returncode == 1
    assert f"headrace local up --name {BROKEN}" in answer.stdout


def test_a_control_plane_alone_makes_pods_of_jobs_and_survives_an_outage(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path, audit_log=True, controller_manager=True) as plane:

        def kubectl(*arguments: str, kubeconfig: Path = plane.kubeconfig) -> str:
            command = [str(plane.kubectl), f"--kubeconfig={kubeconfig}", "--request-timeout=5s", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            return done.stdout + done.stderr

        kubectl("create", "job", "work", "--image=unused")
        _eventually(lambda: "work-" in kubectl("get", "pods", "-o=name"), what="the Job's pod")

        assert "forbidden" in kubectl("get", "pods", kubeconfig=plane.kubeconfig_for("jane", ["developers"]))

        plane.kill()
        assert "refused" in kubectl("get", "jobs")
        plane.restart()
        assert "job.batch/work" in kubectl("get", "jobs", "-o=name")

        assert any(entry["user"]["username"] == "jane" for entry in AuditLog(plane).entries())


def _command(verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_words(verb), capture_output=True, text=True, timeout=120)


def _words(verb: str) -> list[str]:
    return [sys.executable, "-m", "headrace_local", verb, "--name", BROKEN]


def _begin_up(component: str) -> subprocess.Popen[bytes]:
    """Start `up` and return as soon as it has started the component."""
    process = subprocess.Popen(_words("up"), stdout=subprocess.DEVNULL)

    def has_started() -> bool:
        assert process.poll() is None, f"`up` ended before it started {component}: its stderr says why"
        return any(member.component == component for member in members.of(BROKEN))

    _eventually(has_started, what=f"{component} has started")
    return process
