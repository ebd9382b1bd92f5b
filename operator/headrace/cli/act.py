"""`headrace promote|skip|abort|retry|pause|resume|restart NAME`: a hand on the rollout of a ModelService.

The act is written on the ModelService as annotations, with the revision that it is about and under the name by which
the API server knows the person; the chart's admission policy looks at the right. The operator does it once and records
that in status, which the command waits for.
"""

import argparse
import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from headrace.api.acts import Act, ActOutcome, ActRecord
from headrace.api.modelservice import ModelService, Phase, Revision
from headrace.api.scalars import format_time
from headrace.cli.cluster import add_cluster_arguments, cluster, context_namespace, user_name
from headrace.cli.errors import USAGE, CommandError
from headrace.cli.reason import reason_of
from headrace.clock import utc_now
from headrace.kube.client import KubeClient
from headrace.kube.errors import Conflict, Forbidden, KubeError
from headrace.kube.resources import MODELSERVICES
from headrace.labels import ACT, ACT_AT, ACT_BY, ACT_REASON, ACT_VERSION
from headrace.rollout import by_hand
from headrace.serving.target import called, named, names_of

SECONDS = 60.0
PAUSE = 0.5  # seconds between two looks


@dataclass(frozen=True)
class ActCommand:
    """One of the acts. `now` is the clock of what is written."""

    act: Act
    help: str
    now: Callable[[], datetime] = utc_now

    @property
    def name(self) -> str:
        return self.act.value

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("service", metavar="NAME", help="a ModelService")
        parser.add_argument("--namespace", "-n", default="", help="default: the context's")
        parser.add_argument(
            "--version",
            default="",
            metavar="VERSION",
            help="which version is meant, also by its digest or revision: with any other one nothing is done",
        )
        parser.add_argument("--reason", default="", metavar="TEXT", help="why: kept in status.acts and the Events")
        parser.add_argument(
            "--timeout",
            type=float,
            default=SECONDS,
            metavar="SECONDS",
            help="how long to wait until the operator has taken it (default: %(default)s); 0: not at all",
        )
        parser.add_argument("--output", "-o", choices=("text", "json"), default="text", help="default: %(default)s")
        add_cluster_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        reason = reason_of(args)
        if not 0 <= args.timeout < float("inf"):
            raise CommandError(f"--timeout is {args.timeout}: it must be a number of seconds, 0 or more", USAGE)
        namespace = args.namespace or context_namespace(args)
        try:
            record = asyncio.run(self._act(args, namespace, reason))
        except KubeError as error:
            raise CommandError(_with_whom_to_ask(error, self.act)) from error
        except TimeoutError as error:
            raise CommandError(
                f"the operator has not taken it within {args.timeout:g} s, and will as soon as it can: "
                f"kubectl -n {namespace} get modelservice {args.service} -o yaml shows status.acts; is the operator up?"
            ) from error
        return _print(args, namespace, record)

    async def _act(self, args: argparse.Namespace, namespace: str, reason: str) -> ActRecord | None:
        """What the operator has done; None where nobody waits for it."""
        async with cluster(args) as kube:
            service = await _read(kube, namespace, args.service)
            about = subject(service, self.act, args.version)
            marks = {
                ACT: self.act.value,
                ACT_VERSION: about,
                ACT_BY: await user_name(kube),
                ACT_AT: format_time(self.now()),
                ACT_REASON: reason or None,
            }
            # Of the very service that was read: another one of its name has another rollout.
            patch = {"metadata": {"uid": service.metadata.uid, "annotations": marks}}
            try:
                await kube.merge_patch(MODELSERVICES, namespace, args.service, patch)
            except Conflict as error:
                message = f"ModelService {args.service} has just been made anew: look at it, and try again"
                raise CommandError(message) from error
            if args.timeout == 0:
                return None
            asked = (self.act.value, marks[ACT_BY], marks[ACT_AT])
            async with asyncio.timeout(args.timeout):
                return await _taken(kube, namespace, args.service, asked)


async def _read(kube: KubeClient, namespace: str, name: str) -> ModelService:
    found = await kube.get(MODELSERVICES, namespace, name)
    if found is None:
        raise CommandError(f"there is no ModelService {name!r} in namespace {namespace!r}")
    return ModelService.model_validate(found)


async def _taken(kube: KubeClient, namespace: str, name: str, asked: tuple[str, str | None, str | None]) -> ActRecord:
    while True:
        service = await _read(kube, namespace, name)
        for record in service.status.acts:
            if (record.act, record.by, record.at) == asked:
                return record
        if service.metadata.annotations.get(ACT_AT) != asked[2]:
            raise CommandError(
                f"{service.metadata.annotations.get(ACT_BY, 'another user')} has asked for something else before the "
                "operator took it: look at the service, and try again"
            )
        await asyncio.sleep(PAUSE)


def subject(service: ModelService, act: Act, wanted: str = "") -> str:
    """The revision, or of `retry` the digest, that the act is about. `wanted` is what a person calls it; empty: the one
    that is there. Raises CommandError where there is nothing to do.
    """
    if act is Act.RETRY:
        return _refused(service, wanted)
    if act is Act.RESTART:
        return _stable(service, wanted)
    return _under_way(service, act, wanted)


def _under_way(service: ModelService, act: Act, wanted: str) -> str:
    name, status = service.metadata.name, service.status
    canary, rollout = status.canary, status.rollout
    if status.stable is None:
        raise CommandError(f"nothing serves yet at ModelService {name}: {status.message or 'it is new'}")
    if canary is None or rollout is None:
        hint = "to go back to an older version, name it in spec.model" if act is Act.ABORT else "see its status"
        raise CommandError(f"no rollout of ModelService {name} is under way, {named(status.stable)} serves: {hint}")
    if status.phase is Phase.ROLLING_BACK:
        raise CommandError(f"ModelService {name}: {named(canary)} is being rolled back already ({status.reason})")
    if act is Act.RESUME and not by_hand.is_paused(rollout):
        goes_on = f"kubectl headrace skip {name} -n {service.metadata.namespace} ends the step that waits"
        raise CommandError(f"the rollout of {named(canary)} is not paused: {goes_on}")
    return _must_be(canary, wanted, "is rolled out")


def _stable(service: ModelService, wanted: str) -> str:
    name, status = service.metadata.name, service.status
    if status.stable is None:
        raise CommandError(f"nothing serves yet at ModelService {name}: {status.message or 'it is new'}")
    if status.rollout is not None:
        raise CommandError(f"a rollout of ModelService {name} is under way, which brings fresh pods: wait for its end")
    return _must_be(status.stable, wanted, "serves")


def _refused(service: ModelService, wanted: str) -> str:
    """What was refused last, unless it is named: by the registry's tags alone status does not know it."""
    name, status = service.metadata.name, service.status
    if wanted:
        return wanted
    if status.rollout is not None and status.phase is not Phase.ROLLING_BACK:
        raise CommandError(f"a rollout of ModelService {name} is under way: wait for its end, or abort it first")
    if not status.rejected:
        said = f": {status.message}" if status.message else ""
        raise CommandError(
            f"ModelService {name} has nothing to retry: no version was rolled back{said}; where the registry's tags "
            "say that one was, name it with --version"
        )
    last = status.rejected[-1]
    return last.digest if last.digest.startswith("sha256:") else last.revision or last.digest


def _must_be(revision: Revision, wanted: str, does: str) -> str:
    if wanted and wanted not in names_of(revision):
        raise CommandError(
            f"{named(revision)} {does}, and not {wanted}: nothing was done (--version {called(revision)})"
        )
    return revision.revision


def _with_whom_to_ask(error: KubeError, act: Act) -> str:
    """The policy says it itself; the API server's own refusal does not know of the role."""
    if not isinstance(error, Forbidden) or "headrace.dev/act" in str(error) or "ClusterRole" in str(error):
        return str(error)
    return (
        f"{error}: to {act} you need the verbs patch and {act} on modelservices.headrace.dev; ask an administrator for "
        "them, such as with the ClusterRole headrace-releaser"
    )


def _print(args: argparse.Namespace, namespace: str, record: ActRecord | None) -> int:
    done = record is None or record.outcome is ActOutcome.DONE
    if record is None:
        found, text = {}, "asked for, and not waited for (--timeout 0)"
    else:
        found, text = record.model_dump(mode="json", by_alias=True, exclude_none=True), record.message
    if args.output == "json":
        print(json.dumps({"namespace": namespace, "name": args.service, **found}, indent=2))
        return 0 if done else 1
    if not done:
        raise CommandError(f"nothing was done: {text}")
    print(text)
    return 0


ACTS = (
    ActCommand(Act.PROMOTE, "give the version that is rolled out all requests now, past all holds and checks"),
    ActCommand(Act.SKIP, "end the step of a rollout now, also one that waits for a person: the next one starts"),
    ActCommand(Act.ABORT, "roll a rollout back: the version is not tried again until you retry it"),
    ActCommand(Act.RETRY, "try a version again that was rolled back or aborted"),
    ActCommand(Act.PAUSE, "hold a rollout at the weight that it has"),
    ActCommand(Act.RESUME, "continue a paused rollout"),
    ActCommand(Act.RESTART, "roll out fresh pods of the version that serves, by the steps of the rollout"),
)
