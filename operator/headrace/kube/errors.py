"""What can go wrong between the operator and the API server, one type for each meaning.

`KubeClient` raises these; the reconcilers turn them into conditions, the work queue into a later try.
"""


class KubeError(Exception):
    """A request failed. `status` is the HTTP status, `reason` the Kubernetes reason (such as AlreadyExists)."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Conflict(KubeError):
    """409: the object changed since it was read, has another uid, or exists already. Observe again."""


class NotFound(KubeError):
    """404: the object does not exist."""


class KindNotFound(NotFound):
    """404, but not about the object, of which it says nothing: its kind is not installed, or somebody else answered."""


class Forbidden(KubeError):
    """401 or 403: the credentials or the RBAC rules of the operator do not allow this."""


class Invalid(KubeError):
    """400 or 422: the API server does not accept the object. The same request will fail again."""


class ApiUnavailable(KubeError):
    """No connection, no answer in time, 429 or 5xx. Whether a write was done is not known: observe again."""


class NotOurs(Exception):
    """An object of the wanted name belongs to somebody else. It is not touched."""


class Refused(Exception):
    """The API server does not accept an object that a plan wants; the message is the server's. `for_good`: it is the
    object itself, so that the same one will be refused again.
    """

    def __init__(self, error: KubeError) -> None:
        super().__init__(str(error))
        self.for_good = isinstance(error, Invalid)


class LeaseLost(Exception):
    """This process is not, or no longer, the active operator: it may not write."""
