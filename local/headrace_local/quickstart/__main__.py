"""The phases in their order, and what is said at the end, at a failure and at an interruption."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from headrace_local import images, paths
from headrace_local.errors import LocalClusterError
from headrace_local.instance import Instance
from headrace_local.quickstart import kind, platform, serving, traffic, training
from headrace_local.quickstart.arguments import Way, parser, way_of
from headrace_local.quickstart.kind import KindTarget
from headrace_local.quickstart.names import SYSTEM, TENANT, down_command, kind_cluster_name
from headrace_local.quickstart.report import Report
from headrace_local.quickstart.targets import ContextTarget, LocalTarget, Target
from headrace_local.shell import end_as_interrupted_on_sigterm

_INTERRUPTED = 130


def main() -> int:
    args = parser().parse_args()
    end_as_interrupted_on_sigterm()
    report = Report()
    try:
        if args.down:
            return _down(args)
        with ExitStack() as stack:
            _run(args, report, stack)
    except LocalClusterError as error:
        print(f"\nquickstart: {error}\n{go_on(args, has_begun=report.has_begun)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nquickstart: interrupted after {report.seconds:.0f} s. {go_on(args, has_begun=report.has_begun)}",
            file=sys.stderr,
        )
        return _INTERRUPTED
    if args.json is not None:
        report.write(args.json)
    return 0


def _run(args: argparse.Namespace, report: Report, stack: ExitStack) -> None:
    target = _cluster(args, report, stack)
    folder = paths.cache() / "quickstart"
    folder.mkdir(parents=True, exist_ok=True)

    with report.phase(f"tenant: namespace {TENANT} gets a bucket and credentials of its own"):
        where = platform.addresses(target)
        platform.add_tenant(target, report, where)
        training.start_afresh(target, report)
        training.upload_corpus(target, report, where, folder)
        training.put_script(target, report)

    with report.phase("training: a TrainingJob, its gate, a model version"):
        first = training.train(target, report, training.FIRST)

    with report.phase("serving: a ModelService follows the alias `candidate`"):
        body = serving.request_body(folder)
        serving.start(target, report, first, lambda: traffic.running(serving.infer_url(where), body, report))
        report(f"the answer to a request: {serving.shortened(serving.ask(report, where, body))}")
        report(f"the model writes: {training.write_text(serving.base_url(where), folder)}")

    with report.phase("a second version takes the traffic step by step"):
        second = training.train(target, report, training.BETTER)
        with traffic.running(serving.infer_url(where), body, report) as good:
            serving.wait_until_promoted(target, report, second)
        report(f"traffic at {traffic.RATE:.0f} requests/s: {good.line()}")

    with report.phase("a bad version is rolled back"):
        report("the same script with units=1280 and without a gate: far too slow, and nothing has stopped it so far")
        third = training.train(target, report, training.SLOW)
        with traffic.running(serving.infer_url(where), body, report) as bad:
            reason = serving.wait_until_rolled_back(target, report, third)
        report(f"rolled back: {reason}")
        report(f"traffic at {traffic.RATE:.0f} requests/s: {bad.line()}")

    with report.phase("what serves now"):
        answer = serving.shortened(serving.ask(report, where, body))
        text = training.write_text(serving.base_url(where), folder)
        report(f"version {second.number} as before: {answer}")
    _conclude(target, report, where, folder, answer, text)


def _cluster(args: argparse.Namespace, report: Report, stack: ExitStack) -> Target:
    """The cluster with Headrace in it; what has to be made is made. What that is, `before` has said."""
    way = way_of(args)
    target: Target
    if way is Way.CONTEXT:
        target, registry, tag = ContextTarget(args.context, stack), args.registry, args.tag
    elif way is Way.KIND:
        if not args.installed:
            _make_kind_cluster(args.name, report)
        target, registry, tag = KindTarget(args.name, stack), images.PREFIX, images.TAG
    else:
        instance = Instance(args.name, report=report)
        target, registry, tag = LocalTarget(instance), images.PREFIX, images.TAG
        if args.installed and not instance.is_running():
            raise LocalClusterError(f"--installed, but {args.name} does not run")
        if not args.installed:
            _make_cluster(instance, report, install_prerequisites=args.install_prerequisites)
    if args.installed:
        platform.wait_until_ready(target, report)
    else:
        with report.phase("platform: the operator, MLflow, an S3 store and a gateway"):
            platform.install(target, report, registry=registry, tag=tag)
    return target


def _make_kind_cluster(name: str, report: Report) -> None:
    with report.phase("cluster: kind's"):
        kind.make(name, report)
    with report.phase("images: built by Docker, loaded into kind's node"):
        kind.build(name, platform.IMAGES, report)


def _make_cluster(instance: Instance, report: Report, *, install_prerequisites: bool) -> None:
    with report.phase("cluster: a one-node Kubernetes on this machine"):
        instance.up(install_prerequisites=install_prerequisites)
    with report.phase("images: built into the cluster, no registry"):
        instance.build_project(platform.IMAGES)


def _conclude(target: Target, report: Report, where: platform.Addresses, folder: Path, answer: str, text: str) -> None:
    login = platform.secret(target, SYSTEM, f"{platform.RELEASE}-mlflow")
    body = serving.request_body(folder)
    print(f"\n== done after {report.seconds:.0f} s\n")
    for phase in report.phases:
        print(f"  {phase.seconds:7.1f} s  {phase.name}")
    print("\nRollouts, from status.history, and the service's Events:\n")
    for line in serving.history(target):
        report.say(line)
    print(f"\nMLflow   {where.mlflow}   user {login['username']}, password {login['password']}")
    print(
        f"         again: kubectl -n {SYSTEM} get secret {platform.RELEASE}-mlflow "
        "-o go-template='{{.data.password | base64decode}}'"
    )
    print(f"\nRequest  {serving.curl_text(where, body)}\nAnswer   {answer}")
    print(f"\nText     {text}")
    print(f"         {training.client_command(serving.base_url(where), folder)}")
    print("\nTry next:\n")
    for line in [
        *target.how_to_reach(),
        f"kubectl -n {TENANT} get trainingjobs,modelservices -o wide",
        f"kubectl -n {TENANT} describe modelservice {training.NAME}",
        *filter(
            None,
            (
                target.forward_again(SYSTEM, f"{platform.RELEASE}-mlflow", platform.MLFLOW_PORT),
                target.forward_again(SYSTEM, f"{platform.RELEASE}-gateway", platform.GATEWAY_PORT),
            ),
        ),
        target.clean_up(),
    ]:
        report.say(line)


def _down(args: argparse.Namespace) -> int:
    if args.context is not None:
        raise LocalClusterError("--down deletes the local cluster only; in a context of yours use helm and kubectl")
    if not args.local and kind.exists(args.name):
        kind.delete(args.name)
        print(f"kind's cluster {kind_cluster_name(args.name)} is gone; the images stay in Docker")
        return 0
    if os.geteuid() != 0:
        raise LocalClusterError("the local cluster needs root: start this with sudo")
    Instance(args.name).down(purge=True)
    print(f"{args.name} is gone; its images' files go in the background; {paths.cache()} still has what was compiled")
    return 0


def go_on(args: argparse.Namespace, *, has_begun: bool) -> str:
    """What to do after an end that was not meant. `has_begun`: whether something may have been created."""
    again = "Run the same command again to continue"
    if args.down:
        return f"{again}."
    if not has_begun:
        return f"Nothing was created. {again}."
    kept = f"What was created is still there. {again} from it"
    return f"{kept}." if args.context is not None else f"{kept}; `{down_command(args.name)}` deletes it."


if __name__ == "__main__":
    sys.exit(main())
