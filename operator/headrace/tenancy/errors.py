"""What keeps a tenant from being made, each with what to do about it in its message."""


class TenancyError(Exception):
    """A tenant cannot be made, changed or removed as asked."""


class BadName(TenancyError):
    """A namespace or bucket name that the servers would not take."""


class BucketTaken(TenancyError):
    """The bucket belongs to somebody else."""


class SecretTaken(TenancyError):
    """An object that `headrace tenant` would write exists and was not written by it."""


class NamespaceMissing(TenancyError):
    """The namespace does not exist."""


class PlatformUnknown(TenancyError):
    """The administrators' credentials or addresses are not to be found."""


class StoreError(TenancyError):
    """The S3 store refused a request; `code` is its own word for why."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(StoreError):
    """The S3 store does not answer."""
