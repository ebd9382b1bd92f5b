"""The models of trials that are given up, where the store or the program has a fault."""

from types import SimpleNamespace

from headrace_common.protocol.trials import Trial, TrialState
from headrace_trainer.tuning.errands import Errands
from headrace_trainer.tuning.models import Models

LONG = 300.0


def spent(number):
    return Trial(number, TrialState.SUCCEEDED, {}, 0.5, run=f"run-{number}", spent=True)


class Servers:
    """An MLflow and a store of which the deletion fails so often."""

    def __init__(self, failures):
        self.failures, self.acts = failures, []

    def get_run(self, run):
        return SimpleNamespace(artifact_uri=f"s3://team-a/{run}/artifacts")

    def version_of(self, run, folder):
        return ""

    def set_tags(self, run, tags):
        self.acts.append(f"tag {run}")

    def list(self, folder, patience):
        return [SimpleNamespace(key=f"{folder.key}attempt-1/manifest.json")]

    def delete(self, place, patience):
        if self.failures:
            self.failures -= 1
            raise ValueError("no answer that anybody has thought of")
        self.acts.append(f"delete {place.key}")


def removed(servers):
    models = Models(servers, servers, 1.0)
    models.take([spent(0)])
    assert models.wait(LONG)
    return servers.acts


DONE = ["delete run-0/artifacts/model/attempt-1/manifest.json", "tag run-0"]


def test_a_run_says_that_its_model_is_gone_when_it_is():
    assert removed(Servers(failures=0)) == DONE


def test_what_fails_is_tried_once_more_at_the_end(capfd):
    assert removed(Servers(failures=1)) == DONE
    assert "stays in the bucket" not in "".join(capfd.readouterr())


def test_what_fails_again_is_told_and_not_said_to_be_gone(capfd):
    assert removed(Servers(failures=2)) == []
    assert "the model of trial 0 stays in the bucket, whole or in part: ValueError" in "".join(capfd.readouterr())


def test_an_exception_ends_one_errand_and_no_other():
    done = []

    def do(trial):
        if trial.number == 0:
            raise ValueError("a fault")
        done.append(trial.number)

    errands = Errands("test", do)
    errands.add(spent(0))
    errands.add(spent(1))
    assert errands.wait(LONG)
    assert done == [1]
