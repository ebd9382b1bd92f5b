"""What can go wrong between Headrace and MLflow, one type for each meaning.

Their messages end in conditions and Events that every tenant may read: none has credentials.

The client raises the first group, the ledger the second; reconcilers turn them into conditions (`reason` is the
condition's reason), the work queue turns `TrackingUnavailable` into a later try.
"""

from headrace.tracking.redaction import redacted


class TrackingError(Exception):
    """MLflow refused a request in a way that trying again will not change."""

    reason = "TrackingRefused"

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class TrackingUnavailable(TrackingError):
    """No connection, no answer in time, 429 or 5xx. Whether a write was done is not known: look again."""

    reason = "TrackingUnavailable"


class TrackingForbidden(TrackingError):
    """401 or 403: MLflow does not know these credentials, or they may not do this."""

    reason = "TrackingForbidden"


class NotFound(TrackingError):
    """The experiment, run, model, version, alias or user does not exist."""

    reason = "TrackingNotFound"


class AlreadyExists(TrackingError):
    """Something of this name exists already."""

    reason = "TrackingAlreadyExists"


class LedgerError(TrackingError):
    """The registry holds something that Headrace must not overwrite. A person has to decide."""


class ModelNameTaken(LedgerError):
    """A registered model of this name was not made by Headrace for this namespace."""

    reason = "ModelNameTaken"


class ExperimentNameTaken(LedgerError):
    """An experiment of this name keeps its artifacts somewhere else than in this namespace's bucket."""

    reason = "ExperimentNameTaken"


class ExperimentDeleted(LedgerError):
    """The experiment is in MLflow's trash, which still holds its name."""

    reason = "ExperimentDeleted"


class RunDeleted(LedgerError):
    """The run is in MLflow's trash, by itself or with its experiment."""

    reason = "RunDeleted"


class VersionMismatch(LedgerError):
    """The version that carries this attempt's tag was registered for other bytes."""

    reason = "VersionMismatch"


class AliasMovedExternally(LedgerError):
    """Somebody else moved the alias since Headrace last did."""

    reason = "AliasMovedExternally"


class AliasReserved(LedgerError):
    """The alias is the promotion alias of a ModelService, which alone moves it."""

    reason = "AliasReserved"
