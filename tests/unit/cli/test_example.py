"""`headrace example`: which namespace it means, and the command that it ends with."""

from __future__ import annotations

import pytest
import yaml

from headrace.cli import example as command
from headrace.cli import main as program
from headrace.gallery.gateway import NoAnswer


@pytest.fixture
def kubeconfig(tmp_path):
    contexts = [{"name": "a", "context": {"namespace": "team-a"}}, {"name": "b", "context": {}}]
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump({"current-context": "a", "contexts": contexts, "clusters": [], "users": []}))
    return path


@pytest.fixture
def ran(monkeypatch):
    """Namespaces in which an example was run; each serves behind a gateway then."""
    namespaces = []

    async def run(wanted, namespace, kube, report, *, seconds):
        namespaces.append(namespace)
        name = wanted.services[0]["metadata"]["name"]
        url = f"http://GATEWAY/{namespace}/{name}/v2/models/{name}"
        return ({"metadata": {"name": name}, "status": {"url": url}},)

    class NoCluster:
        def __init__(self, args):
            """Nothing is asked of it."""

        async def __aenter__(self):
            return None

        async def __aexit__(self, *error):
            return None

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "await_answer", lambda url: None)
    monkeypatch.setattr(command, "cluster", NoCluster)
    return namespaces


@pytest.mark.parametrize(
    ("flags", "namespace"),
    [
        ([], "team-a"),
        (["--context", "b"], "default"),
        (["--namespace", "team-c"], "team-c"),
    ],
)
def test_an_example_runs_in_the_namespace_that_is_named_or_the_contexts(kubeconfig, ran, flags, namespace):
    assert program.main(["example", "run", "digits", "--kubeconfig", str(kubeconfig), *flags]) == 0
    assert ran == [namespace]


def test_it_ends_with_the_clients_command_at_the_gateway_that_is_named(kubeconfig, ran, capsys):
    flags = ["--kubeconfig", str(kubeconfig), "--gateway", "http://127.0.0.1:8080/"]
    assert program.main(["example", "run", "digits", *flags]) == 0
    said = capsys.readouterr().out
    assert said.rstrip().endswith("examples/digits/client.py http://127.0.0.1:8080/team-a/digits digits")


def test_a_gateway_that_does_not_answer_for_the_model_ends_the_command_with_what_to_look_at(
    kubeconfig, ran, capsys, monkeypatch
):
    def no_answer(url):
        raise NoAnswer(f"{url} is not answered: 404 Not Found")

    monkeypatch.setattr(command, "await_answer", no_answer)
    flags = ["--kubeconfig", str(kubeconfig), "--gateway", "http://127.0.0.1:8080/"]
    assert program.main(["example", "run", "digits", *flags]) == 1
    told = capsys.readouterr()
    assert "http://127.0.0.1:8080/team-a/digits/v2/models/digits is not answered: 404 Not Found: it is" in told.err
    assert "client.py" not in told.out


def test_a_gateway_that_nobody_named_is_told_how_to_find(kubeconfig, ran, capsys):
    assert program.main(["example", "run", "digits", "--kubeconfig", str(kubeconfig)]) == 0
    told = "client.py http://GATEWAY/team-a/digits digits\nGATEWAY is where this machine reaches"
    assert told in capsys.readouterr().out


def test_a_context_that_is_not_there_is_a_usage_error(kubeconfig, ran, capsys):
    flags = ["--kubeconfig", str(kubeconfig), "--context", "z"]
    assert program.main(["example", "run", "digits", *flags]) == 2
    assert "has no context 'z'" in capsys.readouterr().err


def test_every_example_is_listed_with_its_folder(capsys):
    assert program.main(["example", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", *(each.name for each in command.examples())]
    assert all(line.endswith(f"/examples/{line.split()[0]}") for line in listed[1:])


def test_an_installation_without_examples_says_so(monkeypatch, capsys):
    monkeypatch.setattr(command, "examples", lambda: ())
    assert program.main(["example", "list"]) == 1
    assert "without examples" in capsys.readouterr().err
