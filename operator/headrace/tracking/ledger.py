"""What Headrace writes into the registry, each act safe to repeat after a kill at any point.

Every act looks first for what an earlier try may have left, and raises a `LedgerError` where somebody else's entry is
in the way. The caller keeps intent and result in its status (registry entries have no compare-and-set); which versions
are good enough, and when an alias may move, is decided in training and rollout.

Names: a registered model is `NAMESPACE.NAME`, an experiment `NAMESPACE/NAME`. A namespace has neither dots nor slashes,
so two namespaces never share one.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime

from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import (
    AliasMovedExternally,
    AliasReserved,
    AlreadyExists,
    ExperimentDeleted,
    ExperimentNameTaken,
    ModelNameTaken,
    NotFound,
    RunDeleted,
    VersionMismatch,
)
from headrace.tracking.records import (
    PROMOTION_TAG_PREFIX,
    Experiment,
    GrantedOn,
    ModelVersion,
    Notes,
    Permission,
    RegisteredModel,
    Run,
    RunStatus,
)
from headrace_common.tags import DESCRIPTION_TAG, DIGEST_TAG, NAMESPACE_TAG, UID_TAG

DESCRIPTION_LENGTH = 5000  # the most that MLflow keeps


def model_name(namespace: str, name: str) -> str:
    """The registry's name of a model that a spec calls `name`."""
    return f"{namespace}.{name}"


def experiment_name(namespace: str, name: str) -> str:
    """MLflow's name of an experiment that a spec calls `name`."""
    return f"{namespace}/{name}"


def artifact_location(bucket: str, experiment: str) -> str:
    """Where the artifacts of a namespace's experiment lie."""
    return f"s3://{bucket}/mlflow/{experiment}"


_NO_NOTES = Notes()
StillOwns = Callable[[str, str], Awaitable[bool]]


async def _always(owner: str, alias: str) -> bool:
    return True


class Ledger:
    """`still_owns` tells whether a service (`NAMESPACE/NAME`) is still there and has this promotion alias: nobody tells
    the registry of one that was deleted.
    """

    def __init__(self, client: MlflowClient, still_owns: StillOwns = _always) -> None:
        self._client = client
        self._still_owns = still_owns

    # -- experiments and runs ------------------------------------------------------------------------------------------

    async def ensure_experiment(self, namespace: str, name: str, bucket: str, tenant_user: str) -> Experiment:
        """The experiment, made if need be, and `tenant_user` may log runs to it (empty: nobody is granted anything)."""
        full_name, location = experiment_name(namespace, name), artifact_location(bucket, name)
        experiment = await self._experiment(full_name, location, namespace)
        if experiment.deleted:
            raise ExperimentDeleted(
                f"experiment {full_name} is in MLflow's trash: restore it there, delete it for good, "
                "or use another spec.tracking.experiment"
            )
        # The location cannot be changed later, so it proves whose experiment this is; its tags and name would not.
        if experiment.artifact_location.rstrip("/") != location:
            raise ExperimentNameTaken(
                f"experiment {full_name} keeps its artifacts in {experiment.artifact_location or 'no place'}, "
                f"not in {location}: rename it in MLflow, or use another spec.tracking.experiment"
            )
        await self._grant(tenant_user, GrantedOn.EXPERIMENT, experiment.id, Permission.EDIT)
        return experiment

    async def find_run(self, experiment_id: str, uid: str) -> Run | None:
        """The run that the launcher made for the TrainingJob with this uid: the oldest, if user code made more."""
        runs = await self._client.search_runs(experiment_id, UID_TAG, uid)
        return runs[0] if runs else None

    async def check_run(self, run_id: str) -> None:
        """Raises RunDeleted where somebody has put the run into MLflow's trash. What is gone for good is no trouble:
        the launcher makes another one.
        """
        try:
            run = await self._client.get_run(run_id)
        except NotFound:
            return
        if run.deleted:
            raise _deleted(run_id)

    async def check_run_of(self, experiment_id: str, uid: str) -> None:
        """The same of the run of the TrainingJob with this uid, whose id nobody has told: the one that the launcher
        takes is in the trash where no other is there.
        """
        runs = await self._client.search_all_runs(experiment_id, UID_TAG, uid)
        if runs and all(run.deleted for run in runs):
            raise _deleted(runs[0].id)

    async def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Write what was decided on a run. Tags are overwritten by the same value: safe to repeat."""
        for key, value in sorted(tags.items()):
            await self._client.set_tag(run_id, key, value)

    async def fail_run(self, run_id: str, ended: datetime | None, tags: Mapping[str, str]) -> None:
        """The run is FAILED since `ended`; one that somebody deleted is left in peace."""
        end_time = None if ended is None else int(ended.timestamp() * 1000)
        with suppress(NotFound):
            if (await self._client.get_run(run_id)).deleted:
                return
            await self.tag_run(run_id, tags)
            await self._client.update_run(run_id, RunStatus.FAILED, end_time)

    async def kill_run(self, experiment_id: str, uid: str, ended: datetime, tags: Mapping[str, str]) -> None:
        """The run of the TrainingJob with this uid is KILLED since `ended`, unless it has an end already, or somebody
        deleted it.
        """
        with suppress(NotFound):
            run = await self.find_run(experiment_id, uid)
            if run is not None and run.status == RunStatus.RUNNING:
                await self.tag_run(run.id, tags)
                await self._client.update_run(run.id, RunStatus.KILLED, int(ended.timestamp() * 1000))

    # -- models and versions -------------------------------------------------------------------------------------------

    async def ensure_model(self, namespace: str, name: str, tenant_user: str) -> RegisteredModel:
        """The model, made if need be, and `tenant_user` may read it (empty: nobody is granted anything)."""
        full_name = model_name(namespace, name)
        model = await self._model(full_name, namespace)
        if model.tags.get(NAMESPACE_TAG) != namespace:
            raise ModelNameTaken(
                f"model {full_name} exists in the registry without the tag {NAMESPACE_TAG}={namespace}, so Headrace "
                "did not make it: use another spec.output.model, or set the tag to hand the model over"
            )
        await self._grant(tenant_user, GrantedOn.REGISTERED_MODEL, full_name, Permission.READ)
        return model

    async def register(
        self, model: str, run_id: str, digest: str, source: str, attempt_tag: str, notes: Notes = _NO_NOTES
    ) -> ModelVersion:
        """The version of `model` (its registry name) with these bytes for this attempt: one, however often called.
        `more` are tags that it has from its first moment.

        Two calls of which one was thought dead may both have made one: the lowest version is the one, for everybody.
        """
        found = await self._client.search_model_versions(model, UID_TAG, attempt_tag)
        if not found:
            tags = {**notes.tags, UID_TAG: attempt_tag, DIGEST_TAG: digest}
            await self._client.create_model_version(model, source, run_id, tags, notes.description)
            found = await self._client.search_model_versions(model, UID_TAG, attempt_tag)
        if not found:
            raise NotFound(
                f"the version of model {model} that was just registered for {attempt_tag} has been deleted in MLflow"
            )
        version = found[0]
        if version.digest != digest:
            raise VersionMismatch(
                f"version {version.version} of model {model} is registered for {attempt_tag} with digest "
                f"{version.digest}, but the training reports {digest}: delete the version in MLflow, or train again"
            )
        return version

    async def model_folder(self, run_id: str) -> str:
        """Where the models of all attempts of this run lie, without a slash at its end. Raises NotFound."""
        return f"{(await self._client.get_run(run_id)).artifact_uri.rstrip('/')}/model"

    async def version_of(self, run_id: str, source: str) -> ModelVersion | None:
        """A version, of whichever model, that was made of this run, or of what lies at `source` or below it."""
        return next(iter(await self._client.search_versions_of(run_id, source)), None)

    async def tag_version(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write the outcome on a version. Tags are overwritten by the same value: safe to repeat."""
        for key, value in sorted(tags.items()):
            await self._client.set_model_version_tag(model, version, key, value)

    async def describe_version(self, model: str, version: str, paragraph: str) -> None:
        """Put a paragraph at the end of a version's description, once. Where both are too long, what was there before
        loses its end.
        """
        found = await self._client.get_model_version(model, version)
        if not found.description.endswith(paragraph[:DESCRIPTION_LENGTH]):
            await self._client.describe_model_version(model, version, _with_paragraph(found.description, paragraph))

    async def describe_run(self, run_id: str, paragraph: str) -> None:
        """The same of a run's description; one that somebody deleted is left in peace."""
        with suppress(NotFound):
            run = await self._client.get_run(run_id)
            before = run.tags.get(DESCRIPTION_TAG, "")
            if not run.deleted and not before.endswith(paragraph[:DESCRIPTION_LENGTH]):
                await self._client.set_tag(run_id, DESCRIPTION_TAG, _with_paragraph(before, paragraph))

    # -- aliases -------------------------------------------------------------------------------------------------------

    async def resolve(self, model: str, alias: str) -> ModelVersion | None:
        """The version that the alias points at, or None."""
        try:
            return await self._client.get_model_version_by_alias(model, alias)
        except NotFound:
            return None

    async def count_versions(self, model: str) -> int:
        """How many versions there are of the model; 0 where there is no such model."""
        return await self._client.count_model_versions(model)

    async def move_alias(self, model: str, alias: str, version: str, expected: str | None) -> None:
        """Point a promotion alias at `version`; it must be at `expected` (None: must not exist), nowhere, or there."""
        current = await self.resolve(model, alias)
        at = current.version if current else None
        if at == version:
            return
        if at is not None and at != expected:
            raise AliasMovedExternally(
                f"alias {alias} of model {model} is {_at(at)}, expected {_at(expected)}: it was moved, and not by this "
                f"ModelService; move it back in MLflow, or delete it there: then it is set to version {version}"
            )
        await self._client.set_alias(model, alias, version)

    async def point_alias(self, model: str, alias: str, version: str) -> None:
        """Point a source alias at `version`, wherever it was: it is people's to move. Not one that a service owns."""
        owner = await self.alias_owner(model, alias)
        if owner:
            raise AliasReserved(
                f"alias {alias} of model {model} is the promotion alias of ModelService {owner}, which alone moves it: "
                "use another spec.output.alias"
            )
        current = await self.resolve(model, alias)
        if current is None or current.version != version:
            await self._client.set_alias(model, alias, version)

    async def alias_owner(self, model: str, alias: str) -> str:
        """The service (`NAMESPACE/NAME`) whose promotion alias this is, or an empty string."""
        try:
            found = await self._client.get_registered_model(model)
        except NotFound:
            return ""
        owner = found.tags.get(PROMOTION_TAG_PREFIX + alias, "")
        return owner if owner and await self._still_owns(owner, alias) else ""

    async def claim_alias(self, model: str, alias: str, service: str) -> None:
        """Make `service` (`NAMESPACE/NAME`) the owner of this promotion alias, unless another one is."""
        owner = await self.alias_owner(model, alias)
        if owner == service:
            return
        if owner:
            raise AliasReserved(
                f"alias {alias} of model {model} is the promotion alias of ModelService {owner}: "
                "use another spec.rollout.promotion.alias"
            )
        await self._client.set_registered_model_tag(model, PROMOTION_TAG_PREFIX + alias, service)

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _experiment(self, name: str, location: str, namespace: str) -> Experiment:
        try:
            return await self._client.get_experiment_by_name(name)
        except NotFound:
            with suppress(AlreadyExists):  # made since we looked, by a call that was thought dead
                await self._client.create_experiment(name, location, {NAMESPACE_TAG: namespace})
            return await self._client.get_experiment_by_name(name)

    async def _model(self, name: str, namespace: str) -> RegisteredModel:
        try:
            return await self._client.get_registered_model(name)
        except NotFound:
            with suppress(AlreadyExists):  # made since we looked, by a call that was thought dead
                await self._client.create_registered_model(name, {NAMESPACE_TAG: namespace})
            return await self._client.get_registered_model(name)

    async def _grant(self, user: str, granted_on: GrantedOn, resource_id: str, permission: Permission) -> None:
        if not user:
            return
        with suppress(AlreadyExists):  # granted before, or an administrator granted something else: that stays
            await self._client.grant(user, granted_on, resource_id, permission)


def _with_paragraph(text: str, paragraph: str) -> str:
    paragraph = paragraph[:DESCRIPTION_LENGTH]
    before = text.rstrip()[: max(0, DESCRIPTION_LENGTH - len(paragraph) - 2)]
    return f"{before}\n\n{paragraph}".lstrip()


def _deleted(run_id: str) -> RunDeleted:
    return RunDeleted(
        f"run {run_id} was deleted in MLflow, by itself or with its experiment: restore it there (the runs' page, "
        f"filter by state Deleted; or `mlflow runs restore --run-id {run_id}`)"
    )


def _at(version: str | None) -> str:
    return f"at version {version}" if version else "not set"
