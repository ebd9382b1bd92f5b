"""`headrace example` as a newcomer uses it: list, run, and the client's command as it is printed at the end."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from platform_under_test import Tenant, run

NAME = "digits"
SECONDS = 300


def run_example(tenant: Tenant) -> str:
    """What the command prints."""
    where = ("--namespace", tenant.namespace, "--kubeconfig", str(tenant.platform.cluster.kubeconfig))
    bounds = ("--gateway", tenant.platform.gateway, "--timeout", str(SECONDS))
    return run("headrace", "example", "run", NAME, *where, *bounds, seconds=SECONDS + 60)


@pytest.fixture(scope="module")
def said(tenant: Tenant) -> str:
    """What the first run of the example has printed."""
    return run_example(tenant)


@pytest.fixture(scope="module")
def command(said: str) -> list[str]:
    """The client's command, at the end of it."""
    return shlex.split(said.splitlines()[-1])


def test_an_example_of_the_list_is_trained_and_served(tenant: Tenant, said: str) -> None:
    assert f"\n{NAME} " in run("headrace", "example", "list")
    assert f"TrainingJob {NAME}: Succeeded val_accuracy=" in said
    assert re.search(rf"ModelService {NAME}: Stable .*\nAsk it:\n", said), said
    assert tenant.status("trainingjob", NAME)["model"]["version"] == "1"


def test_its_client_is_answered_by_the_command_that_is_printed(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert re.search(r"this is a 0 [\s\S]*this is a 1 [\s\S]*this is a 3 ", done.stdout), (done.stdout, done.stderr)


def test_its_client_gets_the_answers_that_keras_computed(tenant: Tenant, command: list[str]) -> None:
    """The script ends with Keras' own loss and accuracy on its test pictures; the client asks for the same ones."""
    client, url, model = command[1:]
    digits = load_digits()
    rest = train_test_split(digits.images, digits.target, test_size=0.4, stratify=digits.target, random_state=0)
    _, x, _, y = train_test_split(rest[1], rest[3], test_size=0.5, stratify=rest[3], random_state=0)

    answers = np.array(runpy.run_path(client)["probabilities"](url, model, x.tolist(), 60))

    loss, accuracy = -np.log(answers[np.arange(len(y)), y]).mean(), (answers.argmax(axis=1) == y).mean()
    [pod] = tenant.kubectl("get", "pods", "-l", f"headrace.dev/trainingjob={NAME}", "-o", "name").split()
    own = re.search(r"as they are: loss ([\d.]+), accuracy ([\d.]+)", tenant.kubectl("logs", pod))
    assert own is not None
    assert [loss, accuracy] == pytest.approx([float(number) for number in own.groups()], abs=0.00051)


def test_run_again_it_trains_nothing_anew(tenant: Tenant, said: str) -> None:
    assert "has succeeded before" in run_example(tenant)
    assert tenant.status("trainingjob", NAME)["attempt"]["number"] == 1
