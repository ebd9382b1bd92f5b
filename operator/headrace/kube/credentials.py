"""Where the API server is and how to prove who we are: from a kubeconfig, or inside a pod from its service account.

`kubernetes.aio.config` reads all the forms there are (certificates, tokens, exec plugins); tokens are read again once a
minute because a service account's token is exchanged under a running pod. `KubeClient` and the watching shell share it.
"""

import os
import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from headrace.kube.errors import ApiUnavailable

TOKEN_SECONDS = 60.0


class Endpoint(NamedTuple):
    """The server, and the files that TLS needs (None where not used)."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    insecure: bool


class Credentials:
    def __init__(self, kubeconfig: Path | None, configuration: Any) -> None:
        self._kubeconfig = kubeconfig
        self._configuration = configuration
        self._read_at = time.monotonic()

    @classmethod
    async def load(cls, kubeconfig: Path | None = None) -> "Credentials":
        """Read `kubeconfig`; without one, the pod's service account, or outside a pod $KUBECONFIG or ~/.kube/config."""
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
            kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        if kubeconfig is not None and not kubeconfig.is_file():
            raise FileNotFoundError(
                f"kubeconfig {kubeconfig} does not exist: name one with --kubeconfig or $KUBECONFIG"
            )
        return cls(kubeconfig, await _read(kubeconfig))

    @property
    def endpoint(self) -> Endpoint:
        found = self._configuration
        return Endpoint(found.host, found.ssl_ca_cert, found.cert_file, found.key_file, not found.verify_ssl)

    def ssl_context(self) -> ssl.SSLContext:
        endpoint = self.endpoint
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if endpoint.certificate_file:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
        if endpoint.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def headers(self) -> dict[str, str]:
        """The Authorization header as it is valid now; empty when a client certificate says who we are.

        ApiUnavailable when the credentials cannot be read: they may come back, like the API server.
        """
        if self.endpoint.certificate_file:
            return {}
        try:
            if time.monotonic() - self._read_at > TOKEN_SECONDS:
                self._configuration = await _read(self._kubeconfig)
                self._read_at = time.monotonic()
            token = await self._configuration.get_api_key_with_prefix("BearerToken")
        except (OSError, config.ConfigException) as error:
            raise ApiUnavailable(f"the credentials for the API server cannot be read: {error}") from error
        return {"Authorization": token} if token else {}


async def _read(kubeconfig: Path | None) -> Any:
    configuration = Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    return configuration
