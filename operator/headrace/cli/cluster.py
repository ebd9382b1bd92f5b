"""Which cluster a command talks to: the flags --kubeconfig and --context, and a client for what they name."""

import argparse
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.config import ConfigException

from headrace.cli.errors import USAGE, CommandError
from headrace.kube.client import KubeClient
from headrace.kube.resources import SELFSUBJECTREVIEWS

_FILE_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cluster")
    group.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: $KUBECONFIG, or ~/.kube/config")
    group.add_argument("--context", metavar="NAME", help="default: the kubeconfig's current context")


@asynccontextmanager
async def cluster(args: argparse.Namespace) -> AsyncIterator[KubeClient]:
    """A client for the cluster that the flags name; in a pod without flags, for the pod's own. Raises CommandError."""
    with _kubeconfig(args.kubeconfig, args.context) as kubeconfig:
        try:
            session = await KubeClient.connect(kubeconfig, user_agent="headrace-cli")
        except (FileNotFoundError, ConfigException) as error:
            raise CommandError(str(error), USAGE) from error
        try:
            yield session
        finally:
            await session.close()


def context_namespace(args: argparse.Namespace) -> str:
    """The namespace of the context that the flags name, or of the current one; `default` where it has none."""
    path = args.kubeconfig or _default_kubeconfig()
    found = _read(path)
    name = args.context or found.get("current-context", "")
    for entry in found.get("contexts") or []:
        if entry["name"] == name:
            return str((entry.get("context") or {}).get("namespace") or "default")
    raise CommandError(f"kubeconfig {path} has no context {name!r}: name one with --context", USAGE)


async def user_name(kube: KubeClient) -> str:
    """The name by which the API server knows whoever asks. Raises a KubeError."""
    answer = await kube.create(SELFSUBJECTREVIEWS, {"metadata": {}})
    return str(answer["status"]["userInfo"]["username"])


@contextmanager
def _kubeconfig(kubeconfig: Path | None, context: str | None) -> Iterator[Path | None]:
    """The kubeconfig to read; with a context, a private copy in which that context is the current one."""
    if context is None:
        yield kubeconfig
        return
    path = kubeconfig or _default_kubeconfig()
    selected = _with_context(_read(path), path, context)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        copy = Path(folder) / "kubeconfig"
        copy.touch(mode=0o600)
        copy.write_text(yaml.safe_dump(selected))
        yield copy


def _default_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise CommandError(f"kubeconfig {path}: {error.strerror}: name another one with --kubeconfig", USAGE) from error
    except yaml.YAMLError as error:
        raise CommandError(f"kubeconfig {path} is not YAML: {error}", USAGE) from error
    if not isinstance(found, dict):
        raise CommandError(f"kubeconfig {path} is empty: name another one with --kubeconfig", USAGE)
    return found


def _with_context(found: dict[str, Any], path: Path, context: str) -> dict[str, Any]:
    names = [entry["name"] for entry in found.get("contexts") or []]
    if context not in names:
        raise CommandError(f"kubeconfig {path} has no context {context!r}; it has {', '.join(names) or 'none'}", USAGE)
    # The copy lies elsewhere: what was relative to the original is made absolute.
    for entry in [*(found.get("clusters") or []), *(found.get("users") or [])]:
        for section in ("cluster", "user"):
            for field in _FILE_FIELDS:
                if field in (entry.get(section) or {}):
                    entry[section][field] = str(path.parent / entry[section][field])
    return {**found, "current-context": context}
