"""The manifest of a model, as the loader follows it, and which of its files go where. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping

from headrace_common import model_manifest
from headrace_common.formats import SIGNATURE
from headrace_common.manifest import NAME, File, Invalid
from headrace_common.model_manifest import MAX_BYTES, ModelManifest
from headrace_common.paths import collision
from headrace_loader.failures import LoadError, Reason

__all__ = ["MAX_BYTES", "parse", "plan"]


def parse(content: bytes) -> ModelManifest:
    """The manifest in `content`. Raises LoadError(ManifestInvalid)."""
    try:
        return model_manifest.parse(content)
    except Invalid as error:
        raise _invalid(str(error)) from error


def plan(manifest: ModelManifest, formats: tuple[str, ...], layout: Mapping[str, str]) -> dict[str, File]:
    """The files to fetch for `formats`, and the signature, each by its path below the target folder.

    Raises LoadError when a format is not in the model or the layout puts two files in one place.
    """
    planned: list[tuple[str, File]] = []
    for name in formats:
        folder = manifest.formats.get(name)
        if folder is None:
            available = ", ".join(sorted(manifest.formats)) or "none"
            raise LoadError(
                Reason.FORMAT_NOT_FOUND,
                f"The model has no format {name}; it has {available}.",
                f"If output.formats of the TrainingJob has {name}, its condition FormatsExported says why the export"
                f" failed; else add {name} there in a new TrainingJob. Or choose a runtime that serves {available}.",
            )
        inside = [file for file in manifest.files if file.path.startswith(f"{folder}/")]
        if not inside:
            raise _invalid(f"says that {name} lies in {folder!r}, and lists no file there")
        planned += [(layout.get(name, folder) + file.path.removeprefix(folder), file) for file in inside]
    planned += [(SIGNATURE, file) for file in manifest.files if file.path == SIGNATURE]
    duplicate = collision([path for path, _ in planned] + [NAME])
    if duplicate is not None:
        raise LoadError(
            Reason.BAD_CONFIG,
            f"The layout puts two files at {duplicate!r}.",
            "Give each format a folder of its own in `layout`.",
        )
    return dict(planned)


def _invalid(problem: str) -> LoadError:
    return LoadError(
        Reason.MANIFEST_INVALID,
        f"{NAME} {problem}.",
        "Export the model again; a manifest is written by the launcher and never by hand.",
    )
