"""An image of one's own, made as docs/how-to/your-own-image.md says, and a script in it that logs to MLflow itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace_local import images
from headrace_local.errors import LocalClusterError
from headrace_local.instance import Instance
from platform_under_test import REPOSITORY, Platform, Tenant
from wheels import wheel

HOW_TO = REPOSITORY / "docs" / "how-to" / "your-own-image.md"
# As people write it: an experiment and a run of its own, a figure, TensorBoard's logs.
SCRIPT = """
import ctypes, skops.io  # mlflow.sklearn.log_model saves by it
ctypes.CDLL("libgomp.so.1")  # LightGBM's wheel expects it of the system
import acme_features, keras, matplotlib.pyplot as plt, mlflow, pandas as pd, sklearn.metrics
from PIL import Image
frame = pd.DataFrame({"x": [float(n % 7) for n in range(640)]})
frame["y"] = frame["x"] * acme_features.FACTOR
model = keras.Sequential([keras.Input((1,), name="x"), keras.layers.Dense(1, name="y")])
model.compile(keras.optimizers.Adam(0.1), "mse")
mlflow.set_experiment("mine")
with mlflow.start_run():
    x, y = frame[["x"]].to_numpy(), frame["y"].to_numpy()
    model.fit(x, y, epochs=3, callbacks=[keras.callbacks.TensorBoard("./logs")])
    predicted = model.predict(x)
    mlflow.log_metric("r2", sklearn.metrics.r2_score(frame["y"], predicted[:, 0]))
    figure, axes = plt.subplots()
    axes.plot(predicted)
    mlflow.log_figure(figure, "predicted.png")
"""


def dockerfile() -> str:
    found = re.search(r"```dockerfile\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def own_package(folder: Path) -> None:
    """A package that comes from no index, so that the test needs none."""
    file, data = wheel("acme_features", "1.0", code="FACTOR = 3.0")
    (folder / file).write_bytes(data)
    (folder / "requirements.txt").write_text(f"--no-index\n/build/{file}\n")


@pytest.fixture
def build(cluster: Instance, platform: Platform, tmp_path: Path):
    """Builds the how-to's Dockerfile on top of a project image, after changes to its text."""
    own_package(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)

    def run(name: str, text: str, base: str = "trainer") -> str:
        (tmp_path / "Dockerfile").write_text(text)
        return cluster.build(
            f"{images.PREFIX}/{name}:dev", tmp_path, build_args={"TRAINER_IMAGE": images.name_of(base)}
        )

    return run


def test_an_image_made_as_the_how_to_says_trains_and_logs_to_the_job_s_run(build, tenant: Tenant) -> None:
    image = build("own-image", dockerfile())
    tenant.train(
        "own-image",
        source={"image": image},
        tracking={"experiment": "own-image"},
        storage={"secretRef": {"name": "headrace-storage"}},
        resources={"limits": {"cpu": "1", "memory": "2Gi"}},
    )
    status = tenant.finished("own-image")
    assert status["state"] == "Succeeded", status

    run = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED"
    assert {"r2", "epoch/loss"} <= metrics.keys()
    files = tenant.mlflow(f"artifacts/list?run_id={status['run']['id']}")["files"]
    assert "predicted.png" in {file["path"] for file in files}


@pytest.mark.parametrize("user", ["0", "1000"])
def test_pip_installs_where_the_script_finds_it_as_whatever_user(build, user: str) -> None:
    text = dockerfile().replace("RUN", f"USER {user}\nRUN", 1)
    build(
        f"own-image-{user}", text + "\nRUN python -c 'import acme_features, sys; assert sys.prefix == \"/opt/venv\"'\n"
    )


def test_a_package_that_is_not_to_be_had_fails_the_build(build) -> None:
    with pytest.raises(LocalClusterError, match="nowhere-to-be-had"):
        build(
            "own-image-fails",
            dockerfile().replace("--requirement /build/requirements.txt", "--no-index nowhere-to-be-had"),
        )
