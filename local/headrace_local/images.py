"""Builds images with BuildKit straight into an instance's containerd: no registry, no push, no import.

The builder's own CA and package index go into a build as secrets that only the steps which ask for them see; no image
holds them.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace_local import baseimage, paths
from headrace_local.binaries import Binaries
from headrace_local.paths import InstancePaths
from headrace_local.progress import Report
from headrace_local.shell import run, run_long

PREFIX = "headrace.local"
PYTHON_IMAGE = f"{PREFIX}/python:3.11"
TAG = "dev"

_BUILD_TIMEOUT = 1800.0
_OWN_IMAGES = paths.SOURCES / "images"
# These need a toolchain image of a registry elsewhere; here the binary is built already.
_FROM_BINARIES = frozenset({"s3"})
# Their Dockerfile copies from beside itself; that of the others from the root of the repository.
_CONTEXT_IS_THEIR_FOLDER = frozenset({"gateway", "s3"})


@dataclass(frozen=True)
class Recipe:
    """What an image is built from."""

    context: Path
    dockerfile: Path


@dataclass(frozen=True)
class Secrets:
    """Secrets of a build by id: files, and texts."""

    files: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_host(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """What this machine's pip and uv are configured with."""
        environment = os.environ if environment is None else environment
        configured = _pip_configuration(environment)
        authority = _first(environment, ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")) or configured.get(
            "cert", ""
        )
        index = _first(environment, ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")) or configured.get(
            "index-url", ""
        )
        return cls(
            files={"ca": Path(authority)} if authority and Path(authority).is_file() else {},
            texts={"pip_index": index} if index else {},
        )

    @property
    def flags(self) -> list[str]:
        """What a builder is told on its command line, where everybody can read: buildctl and docker take the same."""
        files = [f"--secret=id={key},src={file}" for key, file in self.files.items()]
        return files + [f"--secret=id={key},env={_variable(key)}" for key in self.texts]

    @property
    def variables(self) -> dict[str, str]:
        """What it finds in its environment."""
        return {_variable(key): text for key, text in self.texts.items()}


def _variable(key: str) -> str:
    return f"HEADRACE_SECRET_{key.upper()}"


def recipes() -> dict[str, Recipe]:
    """The project's images by their short name: operator, and each folder of runtimes/ with a Dockerfile; for a builder
    that reaches a registry.
    """
    root = paths.REPOSITORY
    dockerfiles = [root / "operator" / "Dockerfile", *sorted((root / "runtimes").glob("*/Dockerfile"))]
    return {
        file.parent.name: Recipe(file.parent if file.parent.name in _CONTEXT_IS_THEIR_FOLDER else root, file)
        for file in dockerfiles
    }


def local_recipes(binaries: Binaries) -> dict[str, Recipe]:
    """The same for a builder that reaches none."""
    built = {name: Recipe(binaries.directory, _OWN_IMAGES / name / "Dockerfile") for name in _FROM_BINARIES}
    return recipes() | built


def name_of(short: str) -> str:
    return f"{PREFIX}/{short}:{TAG}"


class Builder:
    """Builds into one instance; its buildkitd runs."""

    def __init__(self, instance: InstancePaths, binaries: Binaries, report: Report) -> None:
        self._instance = instance
        self._binaries = binaries
        self._report = report

    def names(self) -> set[str]:
        """The images that the instance has."""
        return set(run([*self._ctr(), "images", "ls", "-q"]).split())

    def own(self, short: str) -> str:
        """One of local/'s own images, made of the built programs; returns its name."""
        name = f"{PREFIX}/{short}:{self._binaries.directory.name}"
        if name not in self.names():
            self.build(name, Recipe(self._binaries.directory, _OWN_IMAGES / short / "Dockerfile"))
        return name

    def python(self) -> str:
        """The base image of Python images; returns its name."""
        context = baseimage.ensure(self._report)
        self.build(PYTHON_IMAGE, Recipe(context, _OWN_IMAGES / "python" / "Dockerfile"))
        return PYTHON_IMAGE

    def build(
        self,
        name: str,
        recipe: Recipe,
        *,
        build_args: Mapping[str, str] | None = None,
        secrets: Secrets | None = None,
    ) -> str:
        """Build an image under this name; raises with the end of the build's output when it fails."""
        secrets = secrets or Secrets()
        command = [
            str(self._binaries.path("buildctl")),
            f"--addr=unix://{self._instance.buildkit_socket}",
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            f"--local=context={recipe.context}",
            f"--local=dockerfile={recipe.dockerfile.parent}",
            f"--opt=filename={recipe.dockerfile.name}",
            "--opt=image-resolve-mode=local",
            # The frontend is the one built in: without this a `# syntax=` line is fetched from a registry.
            "--opt=cmdline=dockerfile.v0",
            f"--output=type=image,name={name},compression=uncompressed,unpack=true",
        ]
        command += [f"--opt=build-arg:{key}={value}" for key, value in (build_args or {}).items()]
        command += secrets.flags
        run_long(
            command,
            what=f"building {name}",
            timeout=_BUILD_TIMEOUT,
            report=self._report,
            describe=_current_step,
            environment=secrets.variables,
        )
        return name

    def forget_containers(self) -> None:
        """Remove what an earlier life of the instance, ended hard, has left in containerd's books."""
        left = run([*self._ctr(), "containers", "ls", "-q"]).split()
        if left:
            run([*self._ctr(), "containers", "rm", *left])

    def _ctr(self) -> list[str]:
        return [
            str(self._binaries.path("ctr")),
            f"--address={self._instance.containerd_socket}",
            "--namespace=k8s.io",
        ]


def _current_step(lines: list[str]) -> str:
    """The last step that BuildKit has begun: a line such as `#7 [build 3/7] RUN ...`."""
    steps = (line.split(" ", 1)[1] for line in reversed(lines) if line.startswith("#") and " [" in line)
    return next(steps, "starting")[:90]


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _pip_configuration(environment: Mapping[str, str]) -> dict[str, str]:
    """The section [global] of pip's configuration files, found where and as pip finds them."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    home = Path(environment.get("HOME", "/"))
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    if named:
        files.append(Path(named))
    parser.read(files)
    return dict(parser["global"]) if parser.has_section("global") else {}
