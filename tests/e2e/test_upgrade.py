"""Another release of the operator over running work, and `helm test`."""

from __future__ import annotations

import json
import time

import pytest

from platform_under_test import SYSTEM, Object, Platform, Tenant, candidate, helm, upgrade

SCRIPT = """
import time, numpy as np, keras
x = np.zeros((64, 4), "float32")
model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
model.compile("sgd", "mse")
slow = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep({seconds}))
model.fit(x, x[:, :1], epochs=60, callbacks=[slow], verbose=2)
"""
TRACKED = {"storage": {"secretRef": {"name": "headrace-storage"}}, "tracking": {"experiment": "upgrade"}}
OUTPUT = {"output": {"model": "upgrade", "formats": ["ONNX"], "alias": "candidate"}}
# What a next release renders: other images, in every pod that it would make.
NEXT = {f"images.{name}": f"headrace.local/{name}:next" for name in ("trainer", "loader", "onnxruntime")}
SEEN_BY_THE_NEW_ONE_SECONDS = 20


@pytest.fixture(scope="module")
def working(tenant: Tenant) -> None:
    """A service that serves and a job that trains."""
    tenant.script("upgrade-model", SCRIPT.format(seconds=0))
    tenant.train("upgrade-model", **TRACKED, **OUTPUT)
    assert tenant.finished("upgrade-model")["state"] == "Succeeded"
    tenant.serve("upgrade", candidate("upgrade"))
    tenant.wait("modelservice", "upgrade", lambda s: s.get("phase") == "Stable", 120)
    tenant.script("upgrade-job", SCRIPT.format(seconds=2))
    tenant.train("upgrade-job", **TRACKED)
    tenant.wait("trainingjob", "upgrade-job", lambda s: (s.get("progress") or {}).get("epoch", 0) >= 1)


def pods(tenant: Tenant) -> list[tuple[str, str, int]]:
    """Name, uid and restarts of each pod of the service and of the job."""
    selector = "headrace.dev/modelservice=upgrade", "headrace.dev/trainingjob=upgrade-job"
    found = [
        pod for part in selector for pod in json.loads(tenant.kubectl("get", "pods", "-l", part, "-o", "json"))["items"]
    ]
    return sorted(
        (pod["metadata"]["name"], pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in found
    )


def operator(platform: Platform) -> Object:
    """The pod of the operator that was made last."""
    selector = ("-l", "app.kubernetes.io/component=operator", "-o", "json")
    pods: list[Object] = json.loads(platform.cluster.kubectl("-n", SYSTEM, "get", "pods", *selector))["items"]
    # The old one may still be on its way out.
    return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])


def test_an_upgrade_rolls_nothing(platform, tenant, working):
    before, old = pods(tenant), operator(platform)
    generation = tenant.get("deployment", tenant.status("modelservice", "upgrade")["stable"]["revision"])["metadata"]
    try:
        upgrade(platform.cluster, **NEXT)
        deadline = time.monotonic() + 60
        while operator(platform)["metadata"]["uid"] == old["metadata"]["uid"]:
            assert time.monotonic() < deadline, "the operator was not replaced"
            time.sleep(1)
        epoch = tenant.status("trainingjob", "upgrade-job")["progress"]["epoch"]
        time.sleep(SEEN_BY_THE_NEW_ONE_SECONDS)

        assert pods(tenant) == before
        now = tenant.get("deployment", generation["name"])["metadata"]
        assert now["generation"] == generation["generation"]
        # The new operator is at work: it goes on telling the job's progress.
        assert tenant.status("trainingjob", "upgrade-job")["progress"]["epoch"] > epoch
    finally:
        upgrade(platform.cluster)
        tenant.kubectl("delete", "trainingjob", "upgrade-job", "--wait=false")


def test_helm_test_finds_every_part(platform):
    said = helm(platform.cluster, "test", "headrace", "--timeout", "2m")

    assert "Phase:          Succeeded" in said
