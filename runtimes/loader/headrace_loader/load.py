"""One load from beginning to end: manifest, digest, files, and last of all the rename that makes it visible.

The target folder is either absent or complete and verified: files are written to a folder beside it and moved at the
end. A copy of the manifest lies in the target, so that a restarted pod can tell without storage that it has everything.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from headrace_common.manifest import NAME, digest_of, sha256_of
from headrace_common.protocol.load import LoadRequest
from headrace_loader import manifest as manifests
from headrace_loader.failures import LoadError, Reason
from headrace_loader.manifest import PlannedFile
from headrace_loader.storage import ObjectNotFound, ObjectStore, read_object

log = logging.getLogger("headrace_loader")


@dataclass(frozen=True)
class Loaded:
    """What lies in the target folder now; `fetched_bytes` is 0 when it lay there already."""

    digest: str
    size_bytes: int
    fetched_bytes: int


def load(request: LoadRequest, store: ObjectStore) -> Loaded:
    """Make `request.target` hold exactly the model asked for. Raises LoadError, and leaves the target alone then."""
    try:
        return _load(request, store)
    except OSError as error:
        raise LoadError(
            Reason.DISK_UNWRITABLE,
            f"Writing the model to {request.target} failed: {error}.",
            "Give the model's volume enough room (sizeLimit, the node's disk) and make it writable for the pod's user.",
        ) from error


def _load(request: LoadRequest, store: ObjectStore) -> Loaded:
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
    content = _fetch_manifest(request, store)
    digest = digest_of(content)
    if request.digest is not None and digest != request.digest:
        raise LoadError(
            Reason.DIGEST_MISMATCH,
            f"The manifest at {request.place} has the digest {digest}; expected was {request.digest}.",
            "The model was overwritten after it was registered: train or register it again.",
        )
    manifest = manifests.parse(content)
    planned = manifests.plan(manifest, request.formats, request.layout)
    size = sum(file.source.size for file in planned)
    _check_room(request, size)
    if _is_complete(request.target, content, planned):
        log.info("%s holds %s already", request.target, digest)
        return Loaded(digest=digest, size_bytes=size, fetched_bytes=0)
    _install(request, store, content, planned)
    return Loaded(digest=digest, size_bytes=size, fetched_bytes=size)


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
    planned = manifests.plan(manifests.parse(content), request.formats, request.layout)
    if not _is_complete(request.target, content, planned):
        return None
    return Loaded(request.digest, size_bytes=sum(file.source.size for file in planned), fetched_bytes=0)


def _fetch_manifest(request: LoadRequest, store: ObjectStore) -> bytes:
    key = request.place.below(NAME).key
    try:
        return b"".join(
            read_object(store, key, deadline_seconds=request.deadline_seconds, max_size=manifests.MAX_BYTES)
        )
    except ObjectNotFound as error:
        raise LoadError(
            Reason.MANIFEST_NOT_FOUND,
            f"There is no {NAME} at {request.place}.",
            "The uri must be the folder of a model exported by a TrainingJob. The manifest is written last: the export"
            " may have been cut off, or the model was deleted.",
        ) from error


def _check_room(request: LoadRequest, size: int) -> None:
    if size > request.max_bytes:
        raise LoadError(
            Reason.TOO_LARGE,
            f"The model has {size} bytes; the limit is {request.max_bytes}.",
            "Check that spec.model points at the right model: larger ones are not served.",
        )


def _install(request: LoadRequest, store: ObjectStore, content: bytes, planned: tuple[PlannedFile, ...]) -> None:
    partial = partial_folder(request.target)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for file in planned:
            _fetch_file(request, store, file, partial / file.destination)
        (partial / NAME).write_bytes(content)
        if request.target.exists():
            shutil.rmtree(request.target)
        partial.rename(request.target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch_file(request: LoadRequest, store: ObjectStore, file: PlannedFile, path: Path) -> None:
    source = file.source
    path.parent.mkdir(parents=True, exist_ok=True)
    checksum = hashlib.sha256()
    try:
        with path.open("xb") as output:
            for chunk in read_object(
                store,
                request.place.below(source.path).key,
                deadline_seconds=request.deadline_seconds,
                expected_size=source.size,
                max_size=source.size,
            ):
                checksum.update(chunk)
                output.write(chunk)
    except ObjectNotFound as error:
        raise LoadError(
            Reason.FILE_NOT_FOUND,
            f"{source.path} is in the manifest and not in storage ({request.place}).",
            "A file of the model was deleted in S3: train again, or point spec.model at another version.",
        ) from error
    if checksum.hexdigest() != source.sha256:
        raise LoadError(
            Reason.FILE_CORRUPT,
            f"{source.path} has the sha256 {checksum.hexdigest()}; the manifest says {source.sha256}.",
            "The file was changed after the export: train again, or point spec.model at another version.",
        )
    log.info("%s: %d bytes, verified", source.path, source.size)


def _is_complete(target: Path, content: bytes, planned: tuple[PlannedFile, ...]) -> bool:
    """Whether the target holds exactly the planned files, byte for byte."""
    expected = {NAME: content, **{file.destination: None for file in planned}}
    found = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir() or path.is_symlink()}
    if found != set(expected) or _read_bounded(target / NAME) != content:
        return False
    return all(_matches(target / file.destination, file) for file in planned)


def _matches(path: Path, file: PlannedFile) -> bool:
    if path.is_symlink() or path.stat().st_size != file.source.size:
        return False
    return sha256_of(path) == file.source.sha256


def _read_bounded(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > manifests.MAX_BYTES:
        return None
    return path.read_bytes()
