"""etcd and a real API server on loopback ports, for tests that need no pods: no root, no network, ready in about
three seconds.

With `controller_manager=True` Jobs make their pods (which nothing runs) and owned objects are collected. Whole
clusters: `instance`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace_local import apiserver, binaries, ports, shell
from headrace_local.certificates import Authority, Subject, write_private
from headrace_local.process import Process

_READY_TIMEOUT = 90.0
_LOOPBACK = "127.0.0.1"


class ControlPlane:
    """Made by `start`, ended by `stop` or at the end of a `with`; also when the thread that started it ends."""

    def __init__(self, directory: Path, *, audit_log: bool, controller_manager: bool) -> None:
        self.directory = directory
        self.audit_log: Path | None = directory / "audit.log" if audit_log else None
        self._binaries = binaries.ensure()
        directory.mkdir(parents=True, exist_ok=True)
        self._authority = Authority(directory / "certificates")
        etcd, peer, secure, self._controller_manager_port = ports.free(4)
        self._endpoints = apiserver.Endpoints(
            etcd_client=f"http://{_LOOPBACK}:{etcd}",
            etcd_peer=f"http://{_LOOPBACK}:{peer}",
            address=_LOOPBACK,
            port=secure,
        )
        self._processes: dict[str, Process] = {}
        self._with_controller_manager = controller_manager

    @classmethod
    def start(cls, directory: Path, *, audit_log: bool = False, controller_manager: bool = False) -> Self:
        """Start with its files under `directory` and return when the API server is ready."""
        plane = cls(directory, audit_log=audit_log, controller_manager=controller_manager)
        try:
            plane._start("etcd", apiserver.etcd_command(plane._binaries, directory / "etcd", plane._endpoints))
            plane._start_apiserver()
            if controller_manager:
                plane._start_controller_manager()
        except BaseException:
            plane.stop()
            raise
        return plane

    @property
    def url(self) -> str:
        return self._endpoints.url

    @property
    def kubeconfig(self) -> Path:
        """A member of system:masters."""
        return self.kubeconfig_for("admin", ["system:masters"])

    @property
    def kubectl(self) -> Path:
        """The kubectl that goes with it."""
        return self._binaries.path("kubectl")

    def kubeconfig_for(self, user: str, groups: list[str] | None = None) -> Path:
        """A kubeconfig of a user who has the rights that RBAC gives to the name and the groups, and no others.

        A service account is `system:serviceaccount:NAMESPACE:NAME` in the group `system:serviceaccounts`.
        """
        name = "_".join([user, *(groups or [])]).replace(":", "-").replace("/", "-")
        path = self.directory / f"{name}.kubeconfig"
        if not path.exists():
            pair = self._authority.issue(f"user-{name}", Subject(user, groups=tuple(groups or ())))
            write_private(path, self._authority.kubeconfig(self.url, user, pair))
        return path

    def run_kubectl(self, *arguments: str | Path) -> str:
        """kubectl as an administrator: what it prints; raises LocalClusterError with its complaint."""
        return shell.run([self.kubectl, "--kubeconfig", self.kubeconfig, *arguments])

    def make_pods_ready(self, namespace: str) -> None:
        """Say of the namespace's pods what a kubelet would, had it started their containers."""
        where = ("--namespace", namespace)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        status = json.dumps({"status": {"phase": "Running", "conditions": [ready]}})
        for pod in json.loads(self.run_kubectl("get", "pods", *where, "--output=json"))["items"]:
            if pod["status"].get("phase") == "Pending":
                name = pod["metadata"]["name"]
                self.run_kubectl("patch", "pod", name, *where, "--subresource=status", "--patch", status)

    def pause(self) -> None:
        """Freeze the API server: connections stay open, nothing is answered."""
        self._processes["kube-apiserver"].pause()

    def resume(self) -> None:
        self._processes["kube-apiserver"].resume()

    def kill(self) -> None:
        """End the API server at once: connections break, new ones are refused."""
        self._processes["kube-apiserver"].kill()

    def restart(self) -> None:
        """Start the API server on its port and its data, killing it first if it runs."""
        self.kill()
        self._start_apiserver()

    def stop(self) -> None:
        """End everything; the files stay for who wants to read the logs, etcd's data does not."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            process = self._processes.pop(name, None)
            if process is not None:
                process.kill()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory / "etcd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, name: str, command: list[str]) -> None:
        self._processes[name] = Process(command, self.directory / f"{name}.log")

    def _start_apiserver(self) -> None:
        extra = [
            # Nothing comes to it through the Service `kubernetes`, whose endpoints may not be loopback addresses.
            f"--advertise-address={_LOOPBACK}",
            "--endpoint-reconciler-type=none",
        ]
        if self.audit_log is not None:
            extra += apiserver.audit_flags(self.directory, self.audit_log)
        self._start(
            "kube-apiserver",
            apiserver.apiserver_command(
                self._binaries, self._authority, self._endpoints, authorization="RBAC", extra=extra
            ),
        )
        process = self._processes["kube-apiserver"]
        apiserver.wait_until_ready(
            self.url, self._authority, timeout=_READY_TIMEOUT, is_running=process.is_running, log=process.log
        )

    def _start_controller_manager(self) -> None:
        self._start(
            "kube-controller-manager",
            apiserver.controller_manager_command(
                self._binaries, self._authority, self.kubeconfig, port=self._controller_manager_port
            ),
        )
