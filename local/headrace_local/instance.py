"""A whole one-node cluster by name: brought up, taken away, built into, reached from the host's loopback.

`up` makes what is missing and leaves alone what runs, so that it can be called again at any time: after a crash of one
program, after a reboot. `down` needs nothing but the name: it finds what there is (`members`, `network`, `cgroups`,
`host`) and removes it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from headrace_local import (
    addons,
    apiserver,
    baseimage,
    binaries,
    cgroups,
    components,
    folders,
    forwards,
    host,
    images,
    locks,
    members,
    namespaces,
    network,
    node,
    paths,
    prerequisites,
)
from headrace_local.certificates import Authority, Subject, write_private
from headrace_local.components import ComponentStatus
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report, Stopwatch, silent, to_stderr
from headrace_local.shell import run

DEFAULT_NAME = "headrace"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_LOCK_TIMEOUT = 900.0
_KUBECTL_TIMEOUT = 300.0


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
        return set(components.NAMES) <= components.running(self.name)

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
        """Take it away; with `purge` the images and the build cache too, whose files go in the background."""
        with self._exclusive():
            self._take_away(keep_data=False)
            if purge:
                folders.remove_in_background(self.paths.images)

    def status(self) -> list[ComponentStatus]:
        return components.status(self.name)

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
        known = images.local_recipes(self.binaries)
        if unknown := sorted(set(short_names) - set(known)):
            raise LocalClusterError(f"no such image: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        self._builder().python()
        wanted = list(short_names) or sorted(known)
        # Two at least: they wait for the network as much as they compute.
        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            builds = [pool.submit(self._build_one, short, known[short]) for short in wanted]
        if failures := [str(error) for build in builds if (error := build.exception()) is not None]:
            raise LocalClusterError("\n\n".join(failures))
        return [build.result() for build in builds]

    def forward(self, target: str, port: int, *, namespace: str = "default") -> int:
        """A port on 127.0.0.1 that leads to a Service (by name) or an address inside; the same when asked again."""
        address = self._address_of(target, namespace)
        return forwards.ensure(self.name, self._namespaces, self.binaries, address, port)

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command of the host inside the instance's namespaces."""
        return self._namespaces.command(*command)

    # -- up ------------------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        link = network.Link(self.name, host.join(self.name))
        for folder in (self.paths.state, self.paths.logs, self.paths.images, self.paths.run):
            folder.mkdir(parents=True, exist_ok=True)
        self.paths.state.chmod(0o700)
        spaces = self._namespaces
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
        self._components.start("etcd", apiserver.etcd_command(self.binaries, self._etcd_data, node.ENDPOINTS))
        self._components.start(
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
            timeout=components.READY_TIMEOUT,
            is_running=lambda: "kube-apiserver" in components.running(self.name),
            log=self._components.log("kube-apiserver"),
        )
        self._start_node(one)
        self._apply(addons.manifests(self.binaries, dns_image))
        self._wait_for("node", self.name, "condition=Ready")
        self._wait_for("serviceaccount", "default", "create")
        self._wait_for("deployment", "coredns", "condition=Available", namespace="kube-system")

    def _start_images(self, one: node.Node, *, forget_containers: bool) -> str:
        """Start what keeps and builds images, and make those that the node itself needs; returns the DNS server's."""
        self._components.start("containerd", one.containerd_command())
        self._components.wait_until_it_listens("containerd", self.paths.containerd_socket)
        builder = self._builder()
        if forget_containers:
            builder.forget_containers()
        self._components.start("buildkitd", one.buildkitd_command())
        self._components.wait_until_it_listens("buildkitd", self.paths.buildkit_socket)
        builder.own("pause")
        return builder.own("coredns")

    def _reach_apiserver(self, authority: Authority) -> str:
        """Forward a loopback port, the same as before if it is free, to the API server and write the kubeconfig."""
        wanted = _port_of(self.kubeconfig)
        api = node.ENDPOINTS
        port = forwards.ensure(self.name, self._namespaces, self.binaries, api.address, api.port, wanted=wanted)
        url = f"https://127.0.0.1:{port}"
        if port != wanted:
            admin = apiserver.admin_certificate(authority)
            write_private(self.kubeconfig, authority.kubeconfig(url, "admin", admin, cluster=f"headrace-{self.name}"))
        return url

    def _start_node(self, one: node.Node) -> None:
        kubeconfig = one.kubeconfig("kube-controller-manager", Subject("system:kube-controller-manager"))
        self._components.start("kubelet", one.kubelet_command())
        self._components.start(
            "kube-controller-manager",
            apiserver.controller_manager_command(
                self.binaries,
                one.authority,
                kubeconfig,
                port=node.CONTROLLER_MANAGER_PORT,
                extra=one.controller_manager_flags(),
            ),
        )
        self._components.start("kube-scheduler", one.scheduler_command())
        self._components.start("kube-proxy", one.proxy_command())
        self._components.start("volumes", one.volumes_command())

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
        deadline = time.monotonic() + components.READY_TIMEOUT
        for step in dict.fromkeys(("create", condition)):
            while True:
                try:
                    self.kubectl("wait", f"--namespace={namespace}", f"{kind}/{name}", f"--for={step}", "--timeout=5s")
                    break
                except LocalClusterError:
                    self._components.require_all()
                    if time.monotonic() > deadline:
                        raise

    # -- down ----------------------------------------------------------------------------------------------------------

    def _take_away(self, *, keep_data: bool) -> None:
        index = host.index_of(self.name)
        members.kill_all(self.name)
        cgroups.remove(self.name)
        if index is not None:
            network.disconnect(network.Link(self.name, index))
        folders.remove(self.paths.run)
        if not keep_data:
            folders.remove(self.paths.state)
        if index is not None:
            host.leave(self.name)

    # -- parts ---------------------------------------------------------------------------------------------------------

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

    @property
    def _etcd_data(self) -> Path:
        return self.paths.state / "etcd"

    @property
    def _namespaces(self) -> namespaces.Namespaces:
        return namespaces.Namespaces(self.paths, self.binaries)

    @property
    def _components(self) -> components.Components:
        return components.Components(self.paths, self._namespaces)

    def _builder(self) -> images.Builder:
        if not components.listens(self.paths.containerd_socket):
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

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        lock = paths.RUN / f"{self.name}.lock"
        with locks.exclusive(lock, what=f"changing {self.name}", timeout=_LOCK_TIMEOUT, report=self._report):
            yield


def quiet(name: str) -> Instance:
    """An instance that reports nothing."""
    return Instance(name, report=silent)


def _port_of(kubeconfig: Path) -> int | None:
    if not kubeconfig.exists():
        return None
    server: str = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return int(server.rsplit(":", 1)[1])
