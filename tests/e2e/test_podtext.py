"""Dollar signs in a spec, with a real kubelet, which would put the tenant's credentials in their place."""

from __future__ import annotations

import json
import re

from platform_under_test import Tenant, first_answer, is_served
from published import adds, publish

SCRIPT = """
import json, os, pathlib, sys
import numpy as np, keras
print("ARGUMENTS" + json.dumps(sys.argv[1:]))
print("ENVIRONMENT" + os.environ["HEADRACE_PARAMETERS"])
print("DATA" + json.dumps([path.read_text() for path in pathlib.Path("/data/corpus").rglob("*") if path.is_file()]))
model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
model.compile("adam", "mse")
model.fit(np.ones((8, 4)), np.ones((8, 1)), epochs=1, verbose=0)
"""
PARAMETERS = {
    "key": "$(AWS_SECRET_ACCESS_KEY)",
    "password": "x-$(MLFLOW_TRACKING_PASSWORD)-x",
    "host": "$(KUBERNETES_SERVICE_HOST)",
    "dollars": "a$$b$$$c$",
}
FOLDER = "text/a$$b/$(AWS_SECRET_ACCESS_KEY)"


def test_parameters_and_datasets_arrive_as_they_were_written(tenant: Tenant) -> None:
    tenant.s3().put_object(Bucket=tenant.namespace, Key=f"{FOLDER}/corpus.txt", Body=b"to be or not to be")
    tenant.script("text", SCRIPT)

    tenant.train(
        "text",
        parameters=PARAMETERS,
        datasets=[{"name": "corpus", "uri": f"s3://{tenant.namespace}/{FOLDER}/"}],
        storage={"secretRef": {"name": "headrace-storage"}},
        tracking={"experiment": "text"},
    )

    status = tenant.finished("text")
    assert status["state"] == "Succeeded", status
    pod = tenant.kubectl("get", "pods", "-l", "headrace.dev/trainingjob=text", "-o", "name").split()[0]
    log = tenant.kubectl("logs", pod)
    said = {
        mark: json.loads(text) for mark, text in re.findall(r"^(ARGUMENTS|ENVIRONMENT|DATA)(.*)$", log, re.MULTILINE)
    }
    assert sorted(said["ARGUMENTS"]) == sorted(f"--{name}={value}" for name, value in PARAMETERS.items())
    assert said["ENVIRONMENT"] == PARAMETERS
    assert said["DATA"] == ["to be or not to be"]
    run = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    logged = {entry["key"]: entry["value"] for entry in run["data"]["params"]}
    assert {name: logged[name] for name in PARAMETERS} == PARAMETERS
    secrets = [
        tenant.secret("headrace-storage")[name] for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")
    ]
    assert not [secret for secret in secrets if secret in log]


def test_a_model_at_a_place_with_dollar_signs_is_served(tenant: Tenant) -> None:
    uri = publish(tenant, f"{FOLDER}/one", adds(1.0))

    tenant.serve("text", {"uri": uri})

    tenant.wait("modelservice", "text", is_served, 120)
    request = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    answer = first_answer(f"{tenant.platform.gateway}/{tenant.namespace}/text/v2/models/text/infer", request)
    assert answer["outputs"][0]["data"] == [2.0]
