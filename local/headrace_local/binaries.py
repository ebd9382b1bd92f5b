"""Everything that a cluster runs, built from one Go module, once a machine.

The folder's name is a hash of what goes in (sources, module versions, toolchain, flags), so that a changed module is
built anew beside the old one. A build happens in a folder of its own and is renamed when it is whole; a lock lets
concurrent callers build once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headrace_local import locks, paths, shell, toolchain, trimming
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report, Stopwatch, to_stderr

KUBERNETES_VERSION = "v1.34.4"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.5.1"
GATEWAY_API_SUM = "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0="
"""What `go.sum` would hold; the module is only read for its manifests, so it is no requirement of the Go module."""

MULTI_CALL = "kubernetes"
MULTI_CALL_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)

_LINKER_FLAGS = " ".join(
    [
        "-s -w",
        f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
        "-X k8s.io/component-base/version.gitMajor=1",
        "-X k8s.io/component-base/version.gitMinor=34",
    ]
)
_TAGS = "no_btrfs,no_devmapper,no_zfs,no_tracing"
_GLUE = (
    "k8s.io/client-go/informers",
    "k8s.io/client-go/listers",
    "k8s.io/client-go/kubernetes",
    "k8s.io/client-go/applyconfigurations",
    "k8s.io/kubectl",
    "sigs.k8s.io/kustomize",
    "github.com/aws",
    "k8s.io/kubernetes/pkg/generated",
)
"""Much code that runs rarely: compiled without inlining."""
_BUILD_FLAGS = (
    "-mod=vendor",
    "-trimpath",
    f"-tags={_TAGS}",
    # The linker drops debug information anyway; so it is not made.
    "-gcflags=all=-dwarf=false",
    *(f"-gcflags={path}/...=-dwarf=false -l" for path in _GLUE),
    f"-ldflags={_LINKER_FLAGS}",
)
_LEAST_MEMORY = 1024**3
_BUILD_TIMEOUT = 3600.0
_DOWNLOAD_TIMEOUT = 900.0


@dataclass(frozen=True)
class Binaries:
    """The folder with the executables."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    @property
    def gateway_api(self) -> Path:
        """The standard channel of Gateway API's CRDs, one file."""
        return self.directory / "gateway-api.yaml"


def ensure(report: Report = to_stderr) -> Binaries:
    """The executables, built now if they are not there; concurrent callers wait for the one that builds."""
    go = toolchain.go(report)
    directory = paths.cache() / "bin" / _content_hash(go)
    if not directory.is_dir():
        with locks.exclusive(
            directory.parent / ".lock", what="building the cluster's programs", timeout=_BUILD_TIMEOUT, report=report
        ):
            if not directory.is_dir():
                _build(go, directory, report)
    return Binaries(directory)


def _content_hash(go: Path) -> str:
    sources = paths.go_sources()
    digest = hashlib.sha256()
    for file in sorted(path for path in sources.rglob("*") if path.suffix in {".go", ".mod", ".sum"}):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(sources)} {len(content)}\n".encode())
        digest.update(content)
    digest.update(Path(trimming.__file__).read_bytes())
    digest.update(json.dumps([_BUILD_FLAGS, MULTI_CALL_NAMES, GATEWAY_API, GATEWAY_API_SUM]).encode())
    target = subprocess.run(
        [go, "env", "GOVERSION", "GOOS", "GOARCH"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=sources,
    )
    digest.update(target.stdout.encode())
    return digest.hexdigest()[:16]


def _build(go: Path, directory: Path, report: Report) -> None:
    report(f"building Kubernetes and its tools into {directory} (once a machine: 5 to 10 minutes on 2 cores)")
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=directory.parent) as temporary:
        target = Path(temporary) / "bin"
        target.mkdir()
        (target / "gateway-api.yaml").write_text(_gateway_api_manifests(go))
        sources = Path(temporary) / "sources"
        _prepare(go, sources)
        _compile(go, sources, target, report)
        for name in MULTI_CALL_NAMES:
            (target / name).symlink_to(MULTI_CALL)
        target.rename(directory)
    report(f"built in {watch.seconds:.0f} s")


def _prepare(go: Path, sources: Path) -> None:
    """A copy of the Go module with all that it needs below it, trimmed."""
    shutil.copytree(paths.go_sources(), sources)
    done = subprocess.run(
        [go, "mod", "vendor"],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_TIMEOUT,
        cwd=sources,
        env={**os.environ, "GOWORK": "off"},
    )
    if done.returncode != 0:
        raise LocalClusterError(f"the modules could not be downloaded:\n{done.stderr.strip()[-2000:]}")
    trimming.trim(sources / "vendor")


def _compile(go: Path, sources: Path, target: Path, report: Report) -> None:
    shell.run_long(
        [go, "build", "-v", *_BUILD_FLAGS, "-o", f"{target}/", "./...", "tool"],
        what="go build",
        timeout=_BUILD_TIMEOUT,
        report=report,
        describe=lambda packages: f"{len(packages)} packages, {packages[-1] if packages else ''}",
        environment={"CGO_ENABLED": "0", "GOWORK": "off", **collector()},
        directory=sources,
    )


def collector() -> dict[str, str]:
    """No garbage collection in the compiler's many short processes, a sixth of its time, while there is memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share = max(memory // ((os.cpu_count() or 1) + 2), _LEAST_MEMORY)
    return {"GOGC": "off", "GOMEMLIMIT": str(share)}


def _gateway_api_manifests(go: Path) -> str:
    answer = subprocess.run(
        [go, "mod", "download", "-json", GATEWAY_API],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_TIMEOUT,
        cwd=paths.cache(),
        env={**os.environ, "GOWORK": "off"},
    )
    if answer.returncode != 0:
        raise LocalClusterError(f"{GATEWAY_API} could not be downloaded: {answer.stdout} {answer.stderr}")
    module = json.loads(answer.stdout)
    if module["Sum"] != GATEWAY_API_SUM:
        raise LocalClusterError(f"{GATEWAY_API} has the checksum {module['Sum']}, expected {GATEWAY_API_SUM}")
    folder = Path(module["Dir"]) / "config" / "crd" / "standard"
    return "---\n".join(file.read_text() for file in sorted(folder.glob("*.yaml")))
