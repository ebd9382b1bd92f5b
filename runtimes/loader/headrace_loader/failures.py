"""The ways in which loading can fail, each with its class: what the operator and the user read in a status."""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """Who has to act: the owner of the model, of the storage, or of the ModelService."""

    DATA = "Data"
    STORAGE = "Storage"
    CONFIG = "Config"


class Reason(StrEnum):
    """A closed list; README.md says when each one is reported."""

    BAD_CONFIG = "BadConfig"
    MANIFEST_NOT_FOUND = "ManifestNotFound"
    MANIFEST_INVALID = "ManifestInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    FORMAT_NOT_FOUND = "FormatNotFound"
    FILE_NOT_FOUND = "FileNotFound"
    FILE_CORRUPT = "FileCorrupt"
    TOO_LARGE = "TooLarge"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_FORBIDDEN = "StorageForbidden"
    BUCKET_NOT_FOUND = "BucketNotFound"
    DISK_FULL = "DiskFull"
    DISK_UNWRITABLE = "DiskUnwritable"


CLASS_OF = {
    Reason.BAD_CONFIG: FailureClass.CONFIG,
    Reason.MANIFEST_NOT_FOUND: FailureClass.DATA,
    Reason.MANIFEST_INVALID: FailureClass.DATA,
    Reason.DIGEST_MISMATCH: FailureClass.DATA,
    Reason.FORMAT_NOT_FOUND: FailureClass.DATA,
    Reason.FILE_NOT_FOUND: FailureClass.DATA,
    Reason.FILE_CORRUPT: FailureClass.DATA,
    Reason.TOO_LARGE: FailureClass.DATA,
    Reason.STORAGE_UNAVAILABLE: FailureClass.STORAGE,
    Reason.STORAGE_FORBIDDEN: FailureClass.STORAGE,
    Reason.BUCKET_NOT_FOUND: FailureClass.STORAGE,
    Reason.DISK_FULL: FailureClass.STORAGE,
    Reason.DISK_UNWRITABLE: FailureClass.STORAGE,
}

# After these a further start goes on with what this one has fetched.
KEEPS_WHAT_IS_THERE = frozenset({Reason.STORAGE_UNAVAILABLE, Reason.STORAGE_FORBIDDEN, Reason.BUCKET_NOT_FOUND})
CHANGED_AFTER_EXPORT = "The file was changed after the export: train again, or point spec.model at another version."

EXIT_CODE_OF = {FailureClass.DATA: 2, FailureClass.CONFIG: 2, FailureClass.STORAGE: 4}


class LoadError(Exception):
    """Loading cannot go on. `message` says what is wrong and where, `hint` what to do."""

    def __init__(self, reason: Reason, message: str, hint: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint

    @property
    def failure_class(self) -> FailureClass:
        return CLASS_OF[self.reason]
