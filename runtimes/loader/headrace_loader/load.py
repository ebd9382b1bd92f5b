"""One load from beginning to end: manifest, digest, files, and last of all the rename that makes it visible.

The target folder is either absent or complete and verified: files are written to a folder beside it and moved at the
end. A copy of the manifest lies in the target, so that a restarted pod can tell without storage that it has everything.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace_common.manifest import NAME, File, digest_of, sha256_of
from headrace_common.protocol.load import LoadRequest
from headrace_loader import manifest as manifests
from headrace_loader import room
from headrace_loader.failures import KEEPS_WHAT_IS_THERE, LoadError, Reason
from headrace_loader.partial import Partial, remove
from headrace_loader.progress import Progress
from headrace_loader.reading import Patience, Wanted, read
from headrace_loader.storage import ObjectNotFound, ObjectPart, ObjectStore
from headrace_loader.transfer import Transfer

log = logging.getLogger("headrace_loader")


@dataclass(frozen=True)
class Loaded:
    """What lies in the target folder now."""

    digest: str
    size_bytes: int


def load(request: LoadRequest, store: ObjectStore, progress: Progress) -> Loaded:
    """Make `request.target` hold exactly the model asked for. Raises LoadError, and leaves the target alone then.

    What was fetched stays beside it for the next start where storage is away, and takes no room where no further start
    can succeed.
    """
    try:
        return _load(request, store, progress)
    except OSError as error:
        remove(partial_folder(request.target))
        raise room.failure_of(error, request.target) from error
    except LoadError as error:
        if error.reason not in KEEPS_WHAT_IS_THERE:
            remove(partial_folder(request.target))
        raise


def _load(request: LoadRequest, store: ObjectStore, progress: Progress) -> Loaded:
    if request.target.is_mount():
        raise LoadError(
            Reason.BAD_CONFIG,
            f"The target {request.target} is a mount point and cannot be replaced in one step.",
            "Mount the volume at the folder above it.",
        )
    present = _present(request)
    if present is not None:
        log.info("%s holds %s already", request.target, present.digest)
        return present
    content = _fetch_manifest(request, store, progress)
    digest = digest_of(content)
    if request.digest is not None and digest != request.digest:
        raise LoadError(
            Reason.DIGEST_MISMATCH,
            f"The manifest at {request.place} has the digest {digest}; expected was {request.digest}.",
            "The model was overwritten after it was registered: train or register it again.",
        )
    manifest = manifests.parse(content)
    files = manifests.plan(manifest, request.formats, request.layout)
    size = sum(file.size for file in files.values())
    _check_limit(request, size)
    if _is_complete(request.target, content, files):
        log.info("%s holds %s already", request.target, digest)
        return Loaded(digest, size)
    _install(request, store, content, files, progress)
    return Loaded(digest, size)


def partial_folder(target: Path) -> Path:
    """Where files lie until all of them are verified: on the volume of the target, so that a rename moves them."""
    return target.with_name(f".{target.name}.partial")


def _present(request: LoadRequest) -> Loaded | None:
    """What an earlier start left, when the digest asked for proves it without storage."""
    if request.digest is None:
        return None
    content = _read_bounded(request.target / NAME)
    if content is None or digest_of(content) != request.digest:
        return None
    files = manifests.plan(manifests.parse(content), request.formats, request.layout)
    if not _is_complete(request.target, content, files):
        return None
    return Loaded(request.digest, sum(file.size for file in files.values()))


def _fetch_manifest(request: LoadRequest, store: ObjectStore, progress: Progress) -> bytes:
    key, patience = request.place.below(NAME).key, Patience(request.deadline_seconds)
    progress.watch(patience)
    try:
        return b"".join(read(store, Wanted(key, partial(_must_be_small, key)), patience))
    except ObjectNotFound as error:
        raise LoadError(
            Reason.MANIFEST_NOT_FOUND,
            f"There is no {NAME} at {request.place}.",
            "The uri must be the folder of a model exported by a TrainingJob. The manifest is written last: the export"
            " may have been cut off, or the model was deleted.",
        ) from error


def _check_limit(request: LoadRequest, size: int) -> None:
    if request.max_bytes is not None and size > request.max_bytes:
        raise LoadError(
            Reason.TOO_LARGE,
            f"The model has {size} bytes; the limit is {request.max_bytes}.",
            "Check that spec.model points at the right model: larger ones are not served.",
        )


def _install(
    request: LoadRequest,
    store: ObjectStore,
    content: bytes,
    files: Mapping[str, File],
    progress: Progress,
) -> None:
    folder = partial_folder(request.target)
    coming = Partial(folder, digest_of(content), {path: file.size for path, file in files.items()})
    if (lies_there := coming.present_bytes()) > 0:
        log.info("an earlier start has fetched %d bytes, and the rest is fetched now", lies_there)
    room.check(folder, coming.missing_bytes())
    Transfer(request.place, store, files, coming, progress).run(request.deadline_seconds)
    (coming.files / NAME).write_bytes(content)
    if request.target.exists():
        shutil.rmtree(request.target)
    coming.files.rename(request.target)
    remove(folder)


def _must_be_small(key: str, part: ObjectPart) -> None:
    if part.size > manifests.MAX_BYTES:
        raise LoadError(
            Reason.TOO_LARGE,
            f"{key} has {part.size} bytes; the limit is {manifests.MAX_BYTES}.",
            "Check that spec.model points at the right model: this is no manifest of a model.",
        )


def _is_complete(target: Path, content: bytes, files: Mapping[str, File]) -> bool:
    """Whether the target holds exactly these files, byte for byte."""
    found = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir() or path.is_symlink()}
    if found != {NAME, *files} or _read_bounded(target / NAME) != content:
        return False
    return all(_matches(target / path, file) for path, file in files.items())


def _matches(path: Path, file: File) -> bool:
    if path.is_symlink() or path.stat().st_size != file.size:
        return False
    return sha256_of(path) == file.sha256


def _read_bounded(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > manifests.MAX_BYTES:
        return None
    return path.read_bytes()
