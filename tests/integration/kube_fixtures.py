"""A small custom resource and an operator for it, to try headrace.kube on a real API server and nothing else."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import yaml

from crds import established
from headrace.kube.resources import Resource
from headrace_local import ports

WIDGETS = Resource("test.headrace.dev", "v1", "widgets", "Widget")
GADGETS = Resource("test.headrace.dev", "v1", "gadgets", "Gadget")
LABEL = "headrace.dev/widget"
OPERATOR = Path(__file__).with_name("widget_operator.py")


def definition(resource):
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "kind": resource.kind},
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                            "properties": {"status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                        }
                    },
                }
            ],
        },
    }


def install(plane, *resources):
    """Install the kinds and wait until they are served."""
    for resource in resources:
        manifest = yaml.safe_dump(definition(resource))
        kubectl(plane, "apply", "--server-side", "-f", "-", stdin=manifest)
        established(plane, f"crd/{resource.plural}.{resource.group}")


def kubectl(plane, *arguments, stdin=None):
    command = [plane.kubectl, "--kubeconfig", plane.kubeconfig, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout


def start_operator(kubeconfig, name, log, *options):
    """The operator of widget_operator.py as a process of its own; its output goes to the file `log`."""
    command = [sys.executable, OPERATOR, "--kubeconfig", kubeconfig, "--name", name, *map(str, options)]
    with log.open("a") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(OPERATOR.parents[1])},
        )


def free_port():
    (port,) = ports.free(1)
    return port


async def answer(port, path):
    """What an operator's health endpoint says; empty when it does not answer."""
    try:
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/{path}") as response:
            return await response.text()
    except aiohttp.ClientError:
        return ""


async def until(condition, seconds=180.0, what="", every=0.05):
    """Wait for a condition, a plain or a coroutine function; its value. Fails the test when the time is up.

    `every` so many seconds it is looked at: seldom, where a look costs much.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        await asyncio.sleep(every)
