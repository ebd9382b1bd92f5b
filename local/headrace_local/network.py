"""The one link between an instance's network and the host's: a veth pair, and firewall rules that carry the
instance's name.

Inside, every instance has the same addresses; only the link's own differ.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from headrace_local import host
from headrace_local.apiserver import SERVICE_RANGE
from headrace_local.errors import LocalClusterError
from headrace_local.namespaces import Namespaces
from headrace_local.shell import run

NODE_ADDRESS = "10.88.0.1"
POD_RANGE = "10.88.0.0/16"
BRIDGE = "cni0"
INNER = "eth0"
_DEFAULT_MTU = 1500


@dataclass(frozen=True)
class Link:
    """The veth pair of the instance with this name and index."""

    instance: str
    index: int

    @property
    def interface(self) -> str:
        return f"hrlocal{self.index}"

    @property
    def host_address(self) -> str:
        return f"10.213.{self.index}.1"

    @property
    def inner_address(self) -> str:
        return f"10.213.{self.index}.2"

    @property
    def subnet(self) -> str:
        return f"10.213.{self.index}.0/30"

    @property
    def comment(self) -> str:
        return f"headrace-local/{self.instance}"


def connect(link: Link, namespaces: Namespaces, holder: int) -> int:
    """Give the instance its network: link, bridge, address translation. Returns the MTU."""
    mtu = _default_route_mtu()
    if not _has_inner_end(namespaces):
        # What bears the name is the end of a link whose namespace the kernel is just about to remove.
        _remove_interface(link.interface)
        _refuse_used_subnet(link)
        add = f"ip link add {link.interface} mtu {mtu} type veth peer name {INNER} mtu {mtu} netns {holder}"
        run(add.split())
    run(["ip", "addr", "replace", f"{link.host_address}/30", "dev", link.interface])
    run(["ip", "link", "set", link.interface, "up"])
    inner = f"""set -e
ip link set lo up
ip addr replace {link.inner_address}/30 dev {INNER}
ip link set {INNER} up
ip route replace default via {link.host_address}
ip link show {BRIDGE} >/dev/null 2>&1 || ip link add {BRIDGE} mtu {mtu} type bridge
ip addr replace {NODE_ADDRESS}/16 dev {BRIDGE}
ip link set {BRIDGE} up
ip rule show | grep -q "to {SERVICE_RANGE}" || ip rule add iif {BRIDGE} to {SERVICE_RANGE} unreachable
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi
"""
    run(namespaces.command("sh", "-c", inner))
    host.set_sysctl("net/ipv4/ip_forward", "1")
    for rule in _wanted_rules(link):
        if shlex.join(rule) not in [shlex.join(present) for present in _rules_of(link)]:
            run(["iptables", "-w", "10", "-t", rule[0], "-I", *rule[1:]])
    return mtu


def disconnect(link: Link) -> None:
    """Take the rules and the link away, whatever of them is there."""
    for rule in _rules_of(link):
        run(["iptables", "-w", "10", "-t", rule[0], "-D", *rule[1:]])
    _remove_interface(link.interface)


def _wanted_rules(link: Link) -> list[list[str]]:
    """Each rule: table, chain, matches and target, spelled as `iptables -S` spells them."""
    comment = ["-m", "comment", "--comment", link.comment]
    rules = [["nat", "POSTROUTING", "-s", link.subnet, *comment, "-j", "MASQUERADE"]]
    if "-P FORWARD ACCEPT" not in run(["iptables", "-w", "10", "-S", "FORWARD"]):
        rules += [
            ["filter", "FORWARD", "-i", link.interface, *comment, "-j", "ACCEPT"],
            ["filter", "FORWARD", "-o", link.interface, *comment, "-j", "ACCEPT"],
        ]
    return rules


def _rules_of(link: Link) -> list[list[str]]:
    found = []
    for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        for line in run(["iptables", "-w", "10", "-t", table, "-S", chain]).splitlines():
            words = shlex.split(line)
            if words[0] == "-A" and link.comment in words:
                found.append([table, *words[1:]])
    return found


def _remove_interface(name: str) -> None:
    """Remove an interface; the kernel, which is removing its namespace, may be faster."""
    try:
        if _exists(name):
            run(["ip", "link", "delete", name])
    except LocalClusterError:
        if _exists(name):
            raise


def _exists(name: str) -> bool:
    return any(entry["ifname"] == name for entry in json.loads(run(["ip", "-json", "link", "show"])))


def _has_inner_end(namespaces: Namespaces) -> bool:
    return any(entry["ifname"] == INNER for entry in json.loads(run(namespaces.command("ip", "-json", "link", "show"))))


def _refuse_used_subnet(link: Link) -> None:
    for route in json.loads(run(["ip", "-json", "route", "show"])):
        if str(route["dst"]).startswith(f"10.213.{link.index}."):
            raise LocalClusterError(
                f"the host has a route to {route['dst']} already, which is the link of instance {link.instance!r}: "
                "`headrace local` needs 10.213.0.0/16 for itself"
            )


def _default_route_mtu() -> int:
    routes = json.loads(run(["ip", "-json", "route", "show", "default"]))
    if not routes:
        return _DEFAULT_MTU
    (interface,) = json.loads(run(["ip", "-json", "link", "show", "dev", routes[0]["dev"]]))
    return int(interface["mtu"])
