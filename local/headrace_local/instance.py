"""A whole one-node cluster by name: brought up, taken away, built into, reached from the host's loopback.

`up` makes what is missing and leaves alone what runs, so that it can be called again at any time: after a crash of one
program, after a reboot. `down` needs nothing but the name: it finds what there is (`members`, `network`, `cgroups`,
`host`) and removes it.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import ipaddress
import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from headrace_local import (
    apiserver,
    baseimage,
    binaries,
    cgroups,
    host,
    images,
    locks,
    members,
    namespaces,
    network,
    node,
    paths,
    ports,
    prerequisites,
)
from headrace_local.certificates import Authority, Subject, write_private
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report, Stopwatch, silent, to_stderr
from headrace_local.shell import run

DEFAULT_NAME = "headrace"
COMPONENTS = (
    "containerd",
    "buildkitd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "volumes",
)
_FORWARD = "forward:"
_PROGRAMS = frozenset({*COMPONENTS, "forward"})
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_LOCK_TIMEOUT = 900.0
_READY_TIMEOUT = 120.0
_KUBECTL_TIMEOUT = 300.0


@dataclass(frozen=True)
class ComponentStatus:
    """One program of an instance, or a forwarded port."""

    component: str
    pid: int | None
    memory_mib: int | None


class Instance:
    """The instance called `name`, whether it exists or not."""

    def __init__(self, name: str = DEFAULT_NAME, *, report: Report = to_stderr) -> None:
        if not _NAME.fullmatch(name):
            raise LocalClusterError(f"{name!r} is no name for an instance: up to 30 lower-case letters, digits and '-'")
        self.name = name
        self.paths = paths.InstancePaths(name)
        self._report = report

    @property
    def kubeconfig(self) -> Path:
        """Cluster-admin, through a loopback port of the host."""
        return self.paths.kubeconfig

    @cached_property
    def binaries(self) -> binaries.Binaries:
        return binaries.ensure(self._report)

    def exists(self) -> bool:
        return host.index_of(self.name) is not None or self.paths.state.exists()

    def is_running(self) -> bool:
        return set(COMPONENTS) <= self._running()

    def up(self, *, install_prerequisites: bool = False) -> None:
        """Bring it up, or bring back what is missing of it.

        When that fails, what this call began is taken away again; of an instance that ran before nothing is.
        """
        watch = Stopwatch()
        prerequisites.require(install=install_prerequisites, report=self._report)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # Downloading packages and compiling keep different things busy.
            base = pool.submit(baseimage.ensure, self._report)
            self.binaries  # noqa: B018 -- built here, with its progress shown, before anything is touched
            base.result()
        with self._exclusive():
            ran_before, had_data = bool(members.of(self.name)), self._etcd_data.exists()
            try:
                self._bring_up()
            except BaseException:
                if not ran_before:
                    self._report(f"{self.name} did not come up: taking away what was begun")
                    self._take_away(keep_data=had_data)
                raise
        self._report(f"{self.name} is ready after {watch.seconds:.1f} s")

    def down(self, *, purge: bool = False) -> None:
        """Take it away; with `purge` the images and the build cache too."""
        with self._exclusive():
            self._take_away(keep_data=False)
            if purge and self.paths.images.exists():
                shutil.rmtree(self.paths.images)

    def status(self) -> list[ComponentStatus]:
        found = {member.component: member.pid for member in members.of(self.name) if member.program in _PROGRAMS}
        forwards = sorted(component for component in found if component.startswith(_FORWARD))
        return [
            ComponentStatus(component, found.get(component), _memory_mib(found.get(component)))
            for component in (*COMPONENTS, *forwards)
        ]

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = _KUBECTL_TIMEOUT) -> str:
        """What kubectl prints, as cluster-admin."""
        return run(
            [self.binaries.path("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin, timeout=timeout
        )

    def build(
        self,
        name: str,
        context_dir: Path,
        *,
        dockerfile: Path | None = None,
        build_args: Mapping[str, str] | None = None,
        secrets: images.Secrets | None = None,
    ) -> str:
        """Build an image for this instance's pods; returns its name.

        The build gets PYTHON_IMAGE as an argument, and this machine's CA and package index as secrets.
        """
        builder = self._builder()
        recipe = images.Recipe(context_dir, dockerfile or context_dir / "Dockerfile")
        arguments = {"PYTHON_IMAGE": builder.python(), **(build_args or {})}
        return builder.build(name, recipe, build_args=arguments, secrets=secrets or images.Secrets.of_host())

    def build_project(self, short_names: Sequence[str] = ()) -> list[str]:
        """Build the project's own images, all or those called so, as headrace.local/NAME:dev. Returns their names."""
        known = images.recipes(self.binaries)
        if unknown := sorted(set(short_names) - set(known)):
            raise LocalClusterError(f"no such image: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        self._builder().python()
        wanted = list(short_names) or sorted(known)
        with ThreadPoolExecutor(max_workers=2) as pool:
            builds = [pool.submit(self._build_one, short, known[short]) for short in wanted]
        if failures := [str(error) for build in builds if (error := build.exception()) is not None]:
            raise LocalClusterError("\n\n".join(failures))
        return [build.result() for build in builds]

    def forward(self, target: str, port: int, *, namespace: str = "default") -> int:
        """A port on 127.0.0.1 that leads to a Service (by name) or an address inside; the same when asked again."""
        address = self._address_of(target, namespace)
        return self._forward(address, port, local_port=None)

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command of the host inside the instance's namespaces."""
        return self._namespaces().command(*command)

    # -- up ------------------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        link = network.Link(self.name, host.join(self.name))
        for folder in (self.paths.state, self.paths.logs, self.paths.images, self.paths.run):
            folder.mkdir(parents=True, exist_ok=True)
        self.paths.state.chmod(0o700)
        spaces = self._namespaces()
        cgroups.create(self.name)
        mtu = network.connect(link, spaces, spaces.hold())
        one = node.Node(
            paths=self.paths,
            binaries=self.binaries,
            authority=Authority(self.paths.state / "certificates"),
            pause_image=f"{images.PREFIX}/pause:{self.binaries.directory.name}",
            mtu=mtu,
        )
        fresh = not self._etcd_data.exists()
        self._start("etcd", apiserver.etcd_command(self.binaries, self._etcd_data, node.ENDPOINTS))
        self._start(
            "kube-apiserver",
            apiserver.apiserver_command(
                self.binaries, one.authority, node.ENDPOINTS, authorization="Node,RBAC", extra=one.apiserver_flags()
            ),
        )
        dns_image = self._start_images(one, forget_containers=fresh)
        url = self._reach_apiserver(one.authority)
        apiserver.wait_until_ready(
            url,
            one.authority,
            timeout=_READY_TIMEOUT,
            is_running=lambda: self._runs("kube-apiserver"),
            log=self.paths.logs / "kube-apiserver.log",
        )
        self._start_node(one)
        self._apply(_manifests(self.binaries, dns_image))
        self._wait_for("node", self.name, "condition=Ready")
        self._wait_for("serviceaccount", "default", "create")
        self._wait_for("deployment", "coredns", "condition=Available", namespace="kube-system")

    def _start_images(self, one: node.Node, *, forget_containers: bool) -> str:
        """Start what keeps and builds images, and make those that the node itself needs; returns the DNS server's."""
        self._start("containerd", one.containerd_command())
        self._wait("containerd", lambda: _answers(self.paths.containerd_socket))
        builder = self._builder()
        if forget_containers:
            builder.forget_containers()
        self._start("buildkitd", one.buildkitd_command())
        self._wait("buildkitd", lambda: _answers(self.paths.buildkit_socket))
        builder.own("pause")
        return builder.own("coredns")

    def _reach_apiserver(self, authority: Authority) -> str:
        """Forward a loopback port, the same as before if it is free, to the API server and write the kubeconfig."""
        wanted = _port_of(self.kubeconfig)
        port = self._forward(node.ENDPOINTS.address, node.ENDPOINTS.port, local_port=wanted)
        url = f"https://127.0.0.1:{port}"
        if port != wanted:
            admin = apiserver.admin_certificate(authority)
            write_private(self.kubeconfig, authority.kubeconfig(url, "admin", admin, cluster=f"headrace-{self.name}"))
        return url

    def _start_node(self, one: node.Node) -> None:
        kubeconfig = one.kubeconfig("kube-controller-manager", Subject("system:kube-controller-manager"))
        self._start("kubelet", one.kubelet_command())
        self._start(
            "kube-controller-manager",
            apiserver.controller_manager_command(
                self.binaries,
                one.authority,
                kubeconfig,
                port=node.CONTROLLER_MANAGER_PORT,
                extra=one.controller_manager_flags(),
            ),
        )
        self._start("kube-scheduler", one.scheduler_command())
        self._start("kube-proxy", one.proxy_command())
        self._start("volumes", one.volumes_command())

    def _start(self, component: str, command: Sequence[str]) -> None:
        if not self._runs(component):
            self._namespaces().start(component, command, log_name=component)

    def _apply(self, manifests: str) -> None:
        """Apply what the cluster brings along, unless these very manifests were applied already."""
        digest = hashlib.sha256(manifests.encode()).hexdigest()
        marker = self.paths.state / "applied"
        if marker.exists() and marker.read_text() == digest:
            return
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
        marker.write_text(digest)

    def _wait_for(self, kind: str, name: str, condition: str, *, namespace: str = "default") -> None:
        """Wait for an object and its condition as long as all components run."""
        deadline = time.monotonic() + _READY_TIMEOUT
        for step in dict.fromkeys(("create", condition)):
            while True:
                try:
                    self.kubectl("wait", f"--namespace={namespace}", f"{kind}/{name}", f"--for={step}", "--timeout=5s")
                    break
                except LocalClusterError as error:
                    for component in COMPONENTS:
                        if not self._runs(component):
                            raise self._failure(component, "ended while it started") from error
                    if time.monotonic() > deadline:
                        raise

    def _wait(self, component: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT
        while not is_ready():
            if not self._runs(component):
                raise self._failure(component, "ended while it started")
            if time.monotonic() > deadline:
                raise self._failure(component, f"was not ready after {_READY_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def _failure(self, component: str, what: str) -> LocalClusterError:
        log = self.paths.logs / f"{component}.log"
        return LocalClusterError(f"{component} {what}; the end of {log}:\n{apiserver.tail(log)}")

    # -- down ----------------------------------------------------------------------------------------------------------

    def _take_away(self, *, keep_data: bool) -> None:
        index = host.index_of(self.name)
        members.kill_all(self.name)
        cgroups.remove(self.name)
        if index is not None:
            network.disconnect(network.Link(self.name, index))
        _remove_folder(self.paths.run)
        if not keep_data:
            _remove_folder(self.paths.state)
        if index is not None:
            host.leave(self.name)

    # -- ports ---------------------------------------------------------------------------------------------------------

    def _address_of(self, target: str, namespace: str) -> str:
        try:
            return str(ipaddress.ip_address(target))
        except ValueError:
            address = self.kubectl(
                "get", "service", target, f"--namespace={namespace}", "-o=jsonpath={.spec.clusterIP}"
            )
        if address in ("", "None"):
            raise LocalClusterError(
                f"Service {namespace}/{target} has no address of its own: forward to a pod's address"
            )
        return address

    def _forward(self, address: str, port: int, *, local_port: int | None) -> int:
        prefix = f"{_FORWARD}{address}:{port}@"
        for member in members.of(self.name):
            if member.component.startswith(prefix):
                return int(member.component.removeprefix(prefix))
        if local_port is None or not ports.is_free(local_port):
            (local_port,) = ports.free(1)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", local_port))
            listener.listen(1024)
            self._namespaces().start(
                f"{prefix}{local_port}",
                [self.binaries.path("forward"), str(listener.fileno()), f"{address}:{port}"],
                log_name="forward",
                pass_descriptors=[listener.fileno()],
            )
        return local_port

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def _etcd_data(self) -> Path:
        return self.paths.state / "etcd"

    def _namespaces(self) -> namespaces.Namespaces:
        return namespaces.Namespaces(self.paths, self.binaries)

    def _builder(self) -> images.Builder:
        if not _answers(self.paths.containerd_socket):
            raise LocalClusterError(f"{self.name} does not run: `headrace local up --name {self.name}`")
        return images.Builder(self.paths, self.binaries, self._report)

    def _build_one(self, short: str, recipe: images.Recipe) -> str:
        watch = Stopwatch()
        name = self._builder().build(
            images.name_of(short),
            recipe,
            build_args={"PYTHON_IMAGE": images.PYTHON_IMAGE},
            secrets=images.Secrets.of_host(),
        )
        self._report(f"built {name} in {watch.seconds:.1f} s")
        return name

    def _runs(self, component: str) -> bool:
        return component in self._running()

    def _running(self) -> set[str]:
        """The components that run: what starts them waits for them, what they have started themselves is not them."""
        return {member.component for member in members.of(self.name) if member.program in {*_PROGRAMS, "nsenter"}}

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        lock = paths.RUN / f"{self.name}.lock"
        with locks.exclusive(lock, what=f"changing {self.name}", timeout=_LOCK_TIMEOUT, report=self._report):
            yield


def quiet(name: str) -> Instance:
    """An instance that reports nothing."""
    return Instance(name, report=silent)


def _manifests(built: binaries.Binaries, dns_image: str) -> str:
    folder = importlib.resources.files("headrace_local") / "manifests"
    forward = "forward . /etc/resolv.conf" if namespaces.resolver_configuration() else ""
    dns = (
        (folder / "coredns.yaml")
        .read_text()
        .replace("FORWARD", forward)
        .replace("IMAGE", dns_image)
        .replace("DNS_ADDRESS", node.DNS_ADDRESS)
    )
    return "\n---\n".join([dns, (folder / "storage-class.yaml").read_text(), built.gateway_api.read_text()])


def _port_of(kubeconfig: Path) -> int | None:
    if not kubeconfig.exists():
        return None
    server: str = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return int(server.rsplit(":", 1)[1])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _memory_mib(pid: int | None) -> int | None:
    if pid is None:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    resident = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(resident.group(1)) // 1024 if resident else None


def _remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; never through a mount, behind which other people's files may lie."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if below := [point for point in mounted if Path(point).is_relative_to(folder)]:
        raise LocalClusterError(f"{below[0]} is mounted below {folder}: `umount {below[0]}`, then try again")
    if folder.exists():
        shutil.rmtree(folder)
