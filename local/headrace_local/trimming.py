"""What of upstream's sources is left out before they are compiled: parts that a cluster of one node never runs, and
that cost a good part of a first build.

It works on vendored sources, a copy of the build's own. Nothing is added or changed, only removed: files, and lines
that name what is in them. The versions are pinned: a text that is not found is an error here, not a surprise later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace_local.errors import LocalClusterError

_VERSITYGW = "github.com/versity/versitygw"

FILES = (
    # Helpers of upstream's own tests, the only users of a second, made-up client of every API.
    "k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_test_context.go",
    "k8s.io/kubernetes/pkg/scheduler/backend/queue/testing.go",
    # Stores other than a folder, and a test suite with an SDK of its own.
    f"{_VERSITYGW}/cmd/versitygw/test.go",
    f"{_VERSITYGW}/cmd/internal/gwcli/azure.go",
    f"{_VERSITYGW}/cmd/internal/gwcli/plugin.go",
    f"{_VERSITYGW}/cmd/internal/gwcli/s3.go",
    f"{_VERSITYGW}/cmd/internal/gwcli/scoutfs.go",
    # Message brokers that could be told of new objects; Kafka's file has a function that all need (see LINES).
    f"{_VERSITYGW}/s3event/nats.go",
    f"{_VERSITYGW}/s3event/rabbitmq.go",
)
"""Files that are left out whole."""

LINES: Mapping[str, Sequence[str]] = {
    f"{_VERSITYGW}/cmd/versitygw/main.go": (
        r"\t\tgwcli\.ScoutfsCommand\(\),\n",
        r"\t\tgwcli\.S3Command\(\),\n",
        r"\t\tgwcli\.AzureCommand\(\),\n",
        r"\t\tgwcli\.PluginCommand\(\),\n",
        r"\t\ttestCommand\(\),\n",
    ),
    f"{_VERSITYGW}/s3event/event.go": (
        r'\tcase cfg\.KafkaURL != "":\n.*\n.*\n',
        r'\tcase cfg\.NatsURL != "":\n.*\n.*\n',
        r'\tcase cfg\.RabbitmqURL != "":\n.*\n.*\n',
    ),
    f"{_VERSITYGW}/s3event/kafka.go": (
        r'\t"context"\n\t"encoding/json"\n\t"encoding/xml"\n',
        r'\t"os"\n\t"sync"\n\t"time"\n\n(\t"github\.com/.*"\n)+',
        r"type Kafka struct {\n(?s:.*)(?=^func genSequencer)",
    ),
    # Caches of builds in other people's clouds.
    "github.com/moby/buildkit/cmd/buildkitd/main.go": (
        r'\t"github\.com/moby/buildkit/cache/remotecache/azblob"\n',
        r'\t"github\.com/moby/buildkit/cache/remotecache/gha"\n',
        r'\ts3remotecache "github\.com/moby/buildkit/cache/remotecache/s3"\n',
        *(
            rf'\t\t"{name}": .*\.ResolveCache{way}Func\(\),\n'
            for name in ("gha", "s3", "azblob")
            for way in ("Exporter", "Importer")
        ),
    ),
}
"""What is left out of a file: expressions, each of which matches once."""

CLIENTS: Mapping[str, Sequence[str]] = {
    "admissionregistration": ("v1alpha1",),
    "apps": ("v1beta1", "v1beta2"),
    "authorization": ("v1beta1",),
    "autoscaling": ("v2beta1", "v2beta2"),
    "batch": ("v1beta1",),
    "coordination": ("v1alpha2",),
    "events": ("v1beta1",),
    "extensions": ("v1beta1",),
    "flowcontrol": ("v1beta1", "v1beta2", "v1beta3"),
    "node": ("v1alpha1", "v1beta1"),
    "rbac": ("v1alpha1", "v1beta1"),
    "resource": ("v1beta1", "v1beta2"),
    "scheduling": ("v1alpha1", "v1beta1"),
    "storage": ("v1alpha1", "v1beta1"),
}
"""API versions whose Go clients no program calls. The API server serves what it served; kubectl and the garbage
collector need no such client."""

_WITHOUT_INFORMERS = frozenset({("authorization", "v1beta1")})
"""What cannot be watched."""


def trim(vendor: Path) -> None:
    """Leave it all out of these vendored sources; raises LocalClusterError when upstream's text is another one."""
    for name in FILES:
        _existing(vendor / name).unlink()
    for name, patterns in LINES.items():
        for pattern in patterns:
            _remove(vendor / name, pattern)
    client_go = vendor / "k8s.io" / "client-go"
    for group, versions in CLIENTS.items():
        for version in versions:
            _remove_client(client_go / "kubernetes" / "clientset.go", group, version)
            if (group, version) not in _WITHOUT_INFORMERS:
                _remove_informers(client_go / "informers", group, version)


def _remove_client(clientset: Path, group: str, version: str) -> None:
    package = re.escape(f"k8s.io/client-go/kubernetes/typed/{group}/{version}")
    alias = f"{group}{version}"
    for pattern in (
        rf'\t{alias} "{package}"\n',
        rf"\t\w+\(\) {alias}\.\w+\n",
        rf"\t\w+ +\*{alias}\.\w+\n",
        rf"// \w+ retrieves the \w+\nfunc \(c \*Clientset\) \w+\(\) {alias}\.\w+ {{\n\treturn c\.\w+\n}}\n\n",
        rf"\tcs\.\w+, err = {alias}\.NewForConfigAndClient\(.*\)\n\tif err != nil {{\n\t\treturn nil, err\n\t}}\n",
        rf"\tcs\.\w+ = {alias}\.New\(c\)\n",
    ):
        _remove(clientset, pattern)


def _remove_informers(informers: Path, group: str, version: str) -> None:
    accessor = version.capitalize()
    for pattern in (
        rf'\t{version} "k8s\.io/client-go/informers/{group}/{version}"\n',
        rf"\t// {accessor} provides .*\n\t{accessor}\(\) {version}\.Interface\n",
        rf"\n// {accessor} returns .*\nfunc \(g \*group\) {accessor}\(\) {version}\.Interface {{\n.*\n}}\n",
    ):
        _remove(informers / group / "interface.go", pattern)
    generic = informers / "generic.go"
    _remove(generic, rf'\t\w+ "k8s\.io/api/{group}/{version}"\n')
    of_this = rf"f\.{group.capitalize()}\(\)\.{accessor}\(\)\."
    _remove(generic, rf"\tcase .*:\n\t\treturn .*{of_this}.*\n", at_least=1)


def _remove(file: Path, pattern: str, *, at_least: int | None = None) -> None:
    """Remove the one text that matches, from the beginning of a line on; with `at_least`, all of them."""
    text, found = re.subn(pattern, "", _existing(file).read_text(), flags=re.MULTILINE)
    if found < at_least if at_least is not None else found != 1:
        raise LocalClusterError(
            f"{file}: {pattern!r} is there {found} times: upstream's sources are not those expected"
        )
    file.write_text(text)


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise LocalClusterError(f"{file} is missing: upstream's sources are not those expected")
    return file
