"""What the node's programs are told: their configuration files and command lines. Nothing is started here
(`instance` does).

Everything that upstream would put into a place of the whole machine gets a place of the instance's own; nothing
listens but on loopback and on the instance's bridge.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headrace_local import cgroups, namespaces, network
from headrace_local.apiserver import SERVICE_RANGE, Endpoints
from headrace_local.binaries import Binaries
from headrace_local.certificates import Authority, KeyPair, Subject, write_private
from headrace_local.paths import InstancePaths

DNS_ADDRESS = "10.96.0.10"
ENDPOINTS = Endpoints(
    etcd_client="http://127.0.0.1:2379",
    etcd_peer="http://127.0.0.1:2380",
    address=network.NODE_ADDRESS,
    port=6443,
)
CONTROLLER_MANAGER_PORT = 10257
FEATURE_GATES = "ImageVolume=true"
BUILD_CACHE_LIMIT = "20GB"
# How often containerd counts the files of all snapshots that are written to, among them BuildKit's caches of packages:
# nearly a second of computing each time. The kubelet learns so late what a container has written beside its volumes.
_DISK_USAGE_SECONDS = 60

_DISABLED_PLUGINS = (
    "io.containerd.nri.v1.nri",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
)


@dataclass(frozen=True)
class Node:
    """The one node of an instance: where its files are and what it is made of."""

    paths: InstancePaths
    binaries: Binaries
    authority: Authority
    pause_image: str
    mtu: int

    @property
    def volume_plugins(self) -> Path:
        return self.paths.state / "volume-plugins"

    @property
    def kubelet_root(self) -> Path:
        return self.paths.state / "kubelet"

    @property
    def cni_configuration(self) -> Path:
        return self.paths.state / "cni"

    def kubeconfig(self, component: str, subject: Subject) -> Path:
        """The file with which a component reaches the API server from inside."""
        path = self.paths.state / f"{component}.kubeconfig"
        if not path.exists():
            pair = self.authority.issue(component, subject)
            write_private(path, self.authority.kubeconfig(ENDPOINTS.url, component, pair))
        return path

    def containerd_command(self) -> list[str]:
        file = self.paths.state / "containerd.toml"
        file.write_text(self._containerd_configuration())
        return [str(self.binaries.path("containerd")), "--config", str(file)]

    def buildkitd_command(self) -> list[str]:
        file = self.paths.state / "buildkitd.toml"
        file.write_text(self._buildkitd_configuration())
        return [
            str(self.binaries.path("buildkitd")),
            f"--config={file}",
            f"--addr=unix://{self.paths.buildkit_socket}",
            f"--root={self.paths.images / 'buildkit'}",
            f"--otel-socket-path={self.paths.run / 'otel.sock'}",
        ]

    def kubelet_command(self) -> list[str]:
        self._write_cni_configuration()
        server = self.authority.issue(
            "kubelet-server",
            Subject("kubelet", dns_names=(self.paths.name,), addresses=("127.0.0.1", network.NODE_ADDRESS)),
        )
        file = self.paths.state / "kubelet.json"
        file.write_text(json.dumps(self._kubelet_configuration(server), indent=2))
        node = Subject(f"system:node:{self.paths.name}", groups=("system:nodes",))
        return [
            str(self.binaries.path("kubelet")),
            f"--config={file}",
            f"--kubeconfig={self.kubeconfig('kubelet', node)}",
            f"--hostname-override={self.paths.name}",
            f"--root-dir={self.kubelet_root}",
            f"--cert-dir={self.kubelet_root / 'pki'}",
            f"--node-ip={network.NODE_ADDRESS}",
        ]

    def scheduler_command(self) -> list[str]:
        return [
            str(self.binaries.path("kube-scheduler")),
            f"--kubeconfig={self.kubeconfig('kube-scheduler', Subject('system:kube-scheduler'))}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--profiling=false",
        ]

    def proxy_command(self) -> list[str]:
        return [
            str(self.binaries.path("kube-proxy")),
            f"--kubeconfig={self.kubeconfig('kube-proxy', Subject('system:kube-proxy'))}",
            f"--hostname-override={self.paths.name}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={network.POD_RANGE}",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            "--iptables-localhost-nodeports=false",
            # Zero: leave the kernel's connection tracking as it is, it is the whole machine's.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]

    def volumes_command(self) -> list[str]:
        return [str(self.binaries.path("volumes")), namespaces.HOST_PATH_VOLUMES]

    def apiserver_flags(self) -> list[str]:
        return [
            f"--advertise-address={network.NODE_ADDRESS}",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
            f"--feature-gates={FEATURE_GATES}",
        ]

    def controller_manager_flags(self) -> list[str]:
        return [
            f"--flex-volume-plugin-dir={self.volume_plugins}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--enable-hostpath-provisioner",
        ]

    def _containerd_configuration(self) -> str:
        # JSON's strings and lists are TOML's too.
        quote = json.dumps
        run, images = self.paths.run, self.paths.images
        return f"""\
version = 3
root = {quote(str(images / "containerd"))}
state = {quote(str(run / "containerd"))}
disabled_plugins = {quote(_DISABLED_PLUGINS)}
[grpc]
  address = {quote(str(self.paths.containerd_socket))}
[plugins.'io.containerd.internal.v1.opt']
  path = {quote(str(images / "opt"))}
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  stats_collect_period = {_DISK_USAGE_SECONDS}
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = {quote(self.pause_image)}
[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE (root in a container) a lower score than one's own cannot be given away.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = {quote(str(run / "runc"))}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [{quote(str(self.binaries.directory))}]
    conf_dir = {quote(str(self.cni_configuration))}
"""

    def _buildkitd_configuration(self) -> str:
        quote = json.dumps
        return f"""\
[worker.oci]
  enabled = false
[worker.containerd]
  enabled = true
  address = {quote(str(self.paths.containerd_socket))}
  namespace = "k8s.io"
  defaultCgroupParent = {quote(f"/{cgroups.name_of(self.paths.name)}/buildkit")}
  gc = true
  maxUsedSpace = "{BUILD_CACHE_LIMIT}"
"""

    def _kubelet_configuration(self, server: KeyPair) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE_ADDRESS,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.authority.files.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(server.certificate),
            "tlsPrivateKeyFile": str(server.key),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.name_of(self.paths.name)}",
            "failCgroupV1": False,
            "containerRuntimeEndpoint": f"unix://{self.paths.containerd_socket}",
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_ADDRESS],
            "podLogsDir": str(self.paths.state / "pod-logs"),
            "volumePluginDir": str(self.volume_plugins),
            "staticPodPath": "",
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "enforceNodeAllocatable": [],
            # The disk is the developer's, who builds images on it: nothing is collected before it is nearly full.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "2%", "imagefs.available": "2%"},
            "imageGCHighThresholdPercent": 99,
            "imageGCLowThresholdPercent": 98,
            "maxPods": 110,
            "featureGates": {"ImageVolume": True},
        }

    def _write_cni_configuration(self) -> None:
        self.cni_configuration.mkdir(parents=True, exist_ok=True)
        configuration = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": network.BRIDGE,
                    "mtu": self.mtu,
                    "isGateway": True,
                    "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(self.paths.state / "cni-addresses"),
                        "ranges": [[{"subnet": network.POD_RANGE}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        (self.cni_configuration / "10-pods.conflist").write_text(json.dumps(configuration, indent=2))
