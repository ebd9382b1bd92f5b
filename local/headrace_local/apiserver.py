"""The command lines of etcd, the API server and the controller manager: the same for a bare control plane and for a
whole cluster.
"""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_local.binaries import Binaries
from headrace_local.certificates import Authority, KeyPair, Subject
from headrace_local.errors import LocalClusterError

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""


@dataclass(frozen=True)
class Endpoints:
    """Where etcd and the API server listen."""

    etcd_client: str
    etcd_peer: str
    address: str
    port: int

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"


def server_certificate(authority: Authority, addresses: Sequence[str]) -> KeyPair:
    return authority.issue(
        "apiserver",
        Subject(
            "kube-apiserver",
            dns_names=(
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ),
            addresses=tuple(dict.fromkeys([*addresses, "127.0.0.1", SERVICE_ADDRESS])),
        ),
    )


def admin_certificate(authority: Authority) -> KeyPair:
    return authority.issue("admin", Subject("admin", groups=("system:masters",)))


def etcd_command(binaries: Binaries, directory: Path, endpoints: Endpoints) -> list[str]:
    return [
        str(binaries.path("etcd")),
        "--data-dir",
        str(directory),
        # The data is worth nothing after a power cut, and fsync is most of what etcd waits for.
        "--unsafe-no-fsync",
        "--listen-client-urls",
        endpoints.etcd_client,
        "--advertise-client-urls",
        endpoints.etcd_client,
        "--listen-peer-urls",
        endpoints.etcd_peer,
        "--initial-advertise-peer-urls",
        endpoints.etcd_peer,
        "--initial-cluster",
        f"default={endpoints.etcd_peer}",
        "--log-level",
        "warn",
    ]


def apiserver_command(
    binaries: Binaries,
    authority: Authority,
    endpoints: Endpoints,
    *,
    authorization: str,
    extra: Sequence[str] = (),
) -> list[str]:
    server = server_certificate(authority, [endpoints.address])
    client = admin_certificate(authority)
    accounts = authority.signing_key("service-accounts")
    return [
        str(binaries.path("kube-apiserver")),
        f"--etcd-servers={endpoints.etcd_client}",
        f"--bind-address={endpoints.address}",
        f"--secure-port={endpoints.port}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--client-ca-file={authority.files.certificate}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--service-account-key-file={accounts.certificate}",
        f"--service-account-signing-key-file={accounts.key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--authorization-mode={authorization}",
        "--allow-privileged=true",
        "--profiling=false",
        *extra,
    ]


def controller_manager_command(
    binaries: Binaries, authority: Authority, kubeconfig: Path, *, port: int, extra: Sequence[str] = ()
) -> list[str]:
    return [
        str(binaries.path("kube-controller-manager")),
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--service-account-private-key-file={authority.signing_key('service-accounts').key}",
        f"--root-ca-file={authority.files.certificate}",
        f"--cluster-signing-cert-file={authority.files.certificate}",
        f"--cluster-signing-key-file={authority.files.key}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--profiling=false",
        # With the usual 20 a second it spends the first five seconds waiting for itself.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        *extra,
    ]


def audit_flags(directory: Path, log: Path) -> list[str]:
    policy = directory / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]


def wait_until_ready(
    url: str, authority: Authority, *, timeout: float, is_running: Callable[[], bool], log: Path
) -> None:
    """Wait for /readyz; an API server that ended says why in its log."""
    client = admin_certificate(authority)
    context = ssl.create_default_context(cafile=str(authority.files.certificate))
    context.load_cert_chain(client.certificate, client.key)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + timeout
    answer = "no answer"
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{url}/readyz", timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError) as error:
            answer = str(error)
        if not is_running():
            raise LocalClusterError(f"the API server ended while it started; the end of {log}:\n{tail(log)}")
        time.sleep(0.05)
    raise LocalClusterError(
        f"{url}/readyz was not ready after {timeout:.0f} s ({answer}); the end of {log}:\n{tail(log)}"
    )


def tail(log: Path, lines: int = 15) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
