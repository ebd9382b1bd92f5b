"""What every instance brings along in its cluster: DNS, a default StorageClass, Gateway API's CRDs."""

from __future__ import annotations

import importlib.resources

from headrace_local import namespaces, node
from headrace_local.binaries import Binaries


def manifests(binaries: Binaries, dns_image: str) -> str:
    """All of it, as one text to apply."""
    folder = importlib.resources.files("headrace_local") / "manifests"
    forward = "forward . /etc/resolv.conf" if namespaces.resolver_configuration() else ""
    dns = (
        (folder / "coredns.yaml")
        .read_text()
        .replace("FORWARD", forward)
        .replace("IMAGE", dns_image)
        .replace("DNS_ADDRESS", node.DNS_ADDRESS)
    )
    return "\n---\n".join([dns, (folder / "storage-class.yaml").read_text(), binaries.gateway_api.read_text()])
