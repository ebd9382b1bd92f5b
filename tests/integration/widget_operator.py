"""An operator made of headrace.kube alone: each Widget gets a ConfigMap of its name that repeats its spec.

With --tick it also writes into that ConfigMap every so many seconds, so that an audit log shows when it was active.
"""

import argparse
import asyncio
import logging
import time
from pathlib import Path

from headrace.kube.apply import apply
from headrace.kube.client import KubeClient
from headrace.kube.keys import parent_of
from headrace.kube.lease import Lease
from headrace.kube.ownership import controller_reference
from headrace.kube.plan import Event, EventType, Plan
from headrace.kube.resources import CONFIGMAPS
from headrace.kube.runtime import Settings, identity, run
from headrace.kube.shell import Watch
from integration.kube_fixtures import LABEL, WIDGETS

WATCHES = (Watch(WIDGETS), Watch(CONFIGMAPS, LABEL))


def plan(widget, requeue_after=None):
    metadata = widget["metadata"]
    configmap = {
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": {LABEL: metadata["name"]},
            "ownerReferences": [controller_reference(WIDGETS, widget["metadata"]["name"], widget["metadata"]["uid"])],
        },
        "data": {key: str(value) for key, value in widget.get("spec", {}).items()},
    }
    status = {"observedGeneration": metadata["generation"]}
    changed = status != widget.get("status")
    events = (Event(EventType.NORMAL, "Repeated", "The ConfigMap repeats the spec."),) if changed else ()
    return Plan(status=status, applies=((CONFIGMAPS, configmap),), events=events, requeue_after=requeue_after)


class Widgets:
    """The reconciler; nothing of it is urgent, and nothing goes on when it is closed."""

    def __init__(self, client, write, tick):
        self.client, self.write, self.tick = client, write, tick

    async def reconcile(self, key, cause):
        widget = await self.client.get(WIDGETS, key.namespace, key.name)
        if widget is None:
            live = await self.client.get(CONFIGMAPS, key.namespace, key.name)
            if live is not None:
                await self.write.delete(CONFIGMAPS, key.namespace, key.name, uid=live["metadata"]["uid"])
            return None
        pause = await apply(plan(widget, self.tick), self.write, WIDGETS, widget)
        if self.tick:
            await self.write.merge_patch(CONFIGMAPS, key.namespace, key.name, {"data": {"tick": f"{time.time():.3f}"}})
        return pause

    def is_urgent(self, key):
        return False

    async def close(self):
        pass


async def operate(arguments):
    async with KubeClient.session(arguments.kubeconfig, user_agent=f"operator-{arguments.name}") as client:
        lease = Lease(
            client,
            "default",
            "widgets",
            f"{arguments.name}-{identity()}",
            duration_seconds=arguments.duration,
            renew_seconds=arguments.duration * 2 / 3,
            retry_seconds=arguments.duration / 15,
            call_seconds=arguments.duration / 5,
        )
        write = client.guarded(lease.valid)

        settings = Settings(sweep_seconds=arguments.sweep, health_host="127.0.0.1", health_port=arguments.health_port)
        widgets = Widgets(client, write, arguments.tick)
        await run(lambda: widgets, WATCHES, parent_of({WIDGETS: LABEL}), client, lease, settings)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--duration", type=int, default=15, help="of the lease, in seconds")
    parser.add_argument("--tick", type=float, help="seconds between writes")
    parser.add_argument("--sweep", type=float, default=300.0, help="seconds between sweeps")
    parser.add_argument("--health-port", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(operate(parser.parse_args()))


if __name__ == "__main__":
    main()
