"""`headrace approve NAME` and `headrace refuse NAME`: what a person says of the version that a TrainingJob made.

The decision is written on the TrainingJob as annotations, under the name by which the API server knows the person; the
chart's admission policy looks at the right, and the operator does the rest.
"""

import argparse
import asyncio
from dataclasses import dataclass

from headrace.api.trainingjob import ApprovalState, State, TrainingJob
from headrace.cli.cluster import add_cluster_arguments, cluster, context_namespace, user_name
from headrace.cli.errors import USAGE, CommandError
from headrace.cli.reason import reason_of
from headrace.kube.errors import Conflict, KubeError
from headrace.kube.resources import TRAININGJOBS, Object
from headrace.labels import APPROVAL, APPROVAL_BY, APPROVAL_REASON
from headrace.training.approval import reserved_alias
from headrace.training.states import Reason


@dataclass(frozen=True)
class DecisionCommand:
    """One of the two decisions."""

    name: str
    help: str
    decision: ApprovalState
    needs_reason: bool

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("job", metavar="NAME", help="a TrainingJob with spec.output.approval that has succeeded")
        parser.add_argument("--namespace", "-n", default="", help="default: the context's")
        parser.add_argument(
            "--reason", default="", required=self.needs_reason, metavar="TEXT", help="why: kept with the version"
        )
        add_cluster_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        reason = reason_of(args)
        if self.needs_reason and not reason:
            raise CommandError("--reason is empty: say why", USAGE)
        namespace = args.namespace or context_namespace(args)
        try:
            print(asyncio.run(self._decide(args, namespace, reason)))
        except KubeError as error:
            raise CommandError(str(error)) from error
        return 0

    async def _decide(self, args: argparse.Namespace, namespace: str, reason: str) -> str:
        async with cluster(args) as kube:
            found = await kube.get(TRAININGJOBS, namespace, args.job)
            if found is None:
                raise CommandError(f"there is no TrainingJob {args.job!r} in namespace {namespace!r}")
            job = TrainingJob.model_validate(found)
            _must_wait(job)
            user = await user_name(kube)
            try:
                await kube.merge_patch(TRAININGJOBS, namespace, args.job, self._patch(job, user, reason))
            except Conflict as error:
                raise CommandError(f"TrainingJob {args.job} has just changed: look at it, and try again") from error
        return said(job, self.decision, user)

    def _patch(self, job: TrainingJob, user: str, reason: str) -> Object:
        """Of the very job that was read: another one of its name has another model."""
        marks = {APPROVAL: self.decision.value, APPROVAL_BY: user, APPROVAL_REASON: reason or None}
        return {"metadata": {"uid": job.metadata.uid, "annotations": marks}}


def said(job: TrainingJob, decision: ApprovalState, user: str) -> str:
    """What happens next."""
    model, output = job.status.model, job.spec.output
    assert model is not None
    alias = output.alias if output is not None else None
    version = f"version {model.version} of model {model.name}"
    owner = model.approval.alias_reserved_by if model.approval is not None else None
    follows = ""
    if alias is not None and decision is ApprovalState.REFUSED:
        follows = f"; alias {alias} stays"
    elif alias is not None:
        follows = f"; {reserved_alias(alias, owner)}" if owner else f"; the operator points alias {alias} at it"
    where = f"kubectl -n {job.metadata.namespace} get trainingjob {job.metadata.name}"
    return f"{decision.lower()} by {user}: {version}{follows} ({where})"


def _must_wait(job: TrainingJob) -> None:
    """Raises CommandError where there is nothing to decide."""
    name, status, output = job.metadata.name, job.status, job.spec.output
    if output is None or not output.needs_approval:
        raise CommandError(f"TrainingJob {name} asks for no approval: its spec.output.approval.required is not true")
    approval = status.model.approval if status.model is not None else None
    if approval is None:
        ended = status.state in (State.SUCCEEDED, State.FAILED)
        why = status.message if ended else "a version waits for an approval once it has succeeded"
        raise CommandError(f"TrainingJob {name} is {status.state or State.PENDING}: {why}")
    if status.reason == Reason.APPROVAL_NOT_ENFORCED:
        raise CommandError(f"TrainingJob {name}: {status.message}")
    if approval.state is not ApprovalState.AWAITING:
        raise CommandError(
            f"TrainingJob {name}: its model was {approval.state.lower()} by {approval.by} before, and the first "
            "decision stands; for another one train again, in a new TrainingJob"
        )


APPROVE = DecisionCommand(
    name="approve",
    help="say that a TrainingJob's model may be used: its alias is then pointed at it, unless a ModelService owns that",
    decision=ApprovalState.APPROVED,
    needs_reason=False,
)
REFUSE = DecisionCommand(
    name="refuse",
    help="say that a TrainingJob's model may not be used: the alias stays where it is",
    decision=ApprovalState.REFUSED,
    needs_reason=True,
)
