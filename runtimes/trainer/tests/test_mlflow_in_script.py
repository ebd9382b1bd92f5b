"""Scripts that log to MLflow themselves: with the real mlflow package, in the script's real process."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from forking import KERAS, Interpreter
from trainer_support import CLIENT, TRAINER, wait_until

from thorough import thorough

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
# A fit of one line each, for scripts that are about MLflow.
TRAINS = """
import keras, numpy as np
model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
model.compile("adam", "mse")
x, y = np.zeros((64, 4)), np.zeros((64, 1))
"""
FIT = "model.fit(x, y, epochs=2)\n"


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    """One that has imported mlflow, too, which takes each script two seconds of computing, and a store of its own as
    many. Where the import is the subject, and where the program is of another framework, it is the script's own.
    """
    forks = Interpreter([TRAINER], (*KERAS, "mlflow", "mlflow.store.tracking.sqlalchemy_store", "boto3", "git"))
    yield forks
    forks.close()


@pytest.fixture
def config(mlflow, s3):
    bucket = s3.bucket()
    return {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment("script", f"s3://{bucket}/mlflow"),
    }


def the_run(mlflow, config):
    """The experiment's one run: its status, and the last values of its metrics, without those of the container, which a
    script that takes 10 seconds has, too.
    """
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    metrics = {metric["key"]: metric["value"] for metric in run["data"].get("metrics", [])}
    return run["info"], {key: value for key, value in metrics.items() if not key.startswith("system/")}


F1 = "mlflow.log_metric('f1', 0.9)\n"
# The same for a program that says by itself what is to be known of it.
FITS_BY_ITSELF = """
import headrace_client
def fit():
    headrace_client.log({"loss": 1}, step=1)
"""
FITS_WITH_SKLEARN = """
import headrace_client, numpy as np
from sklearn.linear_model import LinearRegression
def fit():
    LinearRegression().fit(np.eye(4), np.ones(4))
    headrace_client.log({"loss": 1}, step=1)
"""
WAYS = {
    "plain": FIT + F1,
    "block": f"with mlflow.start_run():\n    {FIT}    {F1}",
    "experiment": f"mlflow.set_experiment('mine')\nwith mlflow.start_run(run_name='mine'):\n    {FIT}    {F1}",
    "two blocks": f"with mlflow.start_run():\n    {FIT}with mlflow.start_run():\n    {F1}",
    "autolog": f"mlflow.autolog(log_models=False, log_datasets=False)\n{FIT}{F1}",
    "parameters twice": f"{FIT}mlflow.log_param('lr', 1)\nmlflow.log_param('lr', 2)\n"
    f"mlflow.log_params({{'lr': 3, 'depth': 4}})\n{F1}",
    "status in between": f"with mlflow.start_run() as run:\n    {FIT}    {F1}"
    "assert mlflow.get_run(run.info.run_id).info.status == 'RUNNING'\n",
    "process": f"import subprocess, sys\n{FIT}subprocess.run([sys.executable, '-c', {f'import mlflow; {F1}'!r}])\n",
}


# What follows mlflow is the same in both, and put in another way: of a program the ways that are unlike each other.
OF_A_PROGRAM = {"two blocks", "autolog", "process"}


@pytest.mark.parametrize(
    ("framework", "way"),
    [
        *(("Keras", way) for way in WAYS),
        *(("Script", way) if way in OF_A_PROGRAM else thorough("Script", way) for way in WAYS),
    ],
)
def test_what_a_script_logs_lands_in_the_job_s_run_which_the_launcher_ends(
    launch, train, mlflow, config, framework, way
):
    config, script = {**config, "framework": framework, "parameters": {"lr": 0.5}}, WAYS[way]
    whole = TRAINS + "import mlflow\n" + script
    if framework == "Keras" and way == "autolog":  # which is about what has been imported: in an interpreter of its own
        launched = launch(whole, config=config, adapter="headrace_trainer.adapters.keras", env=QUIET)
    elif framework == "Keras":
        launched = train(whole, config=config)
    else:
        by_itself = (
            (FITS_WITH_SKLEARN if way == "autolog" else FITS_BY_ITSELF)
            + "import mlflow\n"
            + script.replace(FIT, "fit()\n")
        )
        launched = launch(by_itself, config=config, env={**QUIET, "PYTHONPATH": f"{TRAINER}:{CLIENT}"})
    assert launched.wait(300) == 0, launched.log

    info, metrics = the_run(mlflow, config)
    assert metrics["f1"] == 0.9
    assert "val_loss" in metrics or "loss" in metrics  # and the launcher's are beside it
    assert (info["status"], info["run_name"]) == ("FINISHED", "job")


@pytest.fixture(scope="module")
def asked_for_servers():
    """What is used and said, by the server of the job and the one that the script asks for: each in a fork of a process
    that has imported mlflow.
    """
    cases = [case[:2] for case in SERVERS]
    script = (
        "import json, os\nimport mlflow\nfrom headrace_trainer.adapters import mlflow_run\n"
        f"for job, asked in {cases!r}:\n"
        "    if os.fork():\n"
        "        assert os.wait()[1] == 0\n"
        "        continue\n"
        "    said = []\n"
        "    mlflow.set_tracking_uri(job)\n"
        "    mlflow_run.install('1', job, said.append)\n"
        "    mlflow.set_tracking_uri(asked)\n"
        "    print(json.dumps([mlflow.get_tracking_uri(), len(said)]), flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


SERVERS = [
    ("http://mlflow.platform:5000", "http://localhost:5000", "http://mlflow.platform:5000"),
    ("http://mlflow.platform:5000", "http://127.0.0.1:8080", "http://mlflow.platform:5000"),
    ("http://mlflow.platform:5000", "https://mlflow.own", "https://mlflow.own"),
    ("http://mlflow.platform:5000", "sqlite:///own.db", "sqlite:///own.db"),
    ("http://127.0.0.1:5000", "http://localhost:5000", "http://localhost:5000"),
]


@pytest.mark.parametrize(("job", "asked", "used"), SERVERS)
def test_the_server_of_a_tutorial_is_left_out_and_one_s_own_is_not(job, asked, used, asked_for_servers):
    uri, said = asked_for_servers[job, asked]
    assert uri == used
    assert bool(said) is (used != asked)


def test_a_script_that_fails_after_its_own_run_has_ended_leaves_a_failed_run(train, mlflow, config):
    script = TRAINS + "import mlflow\nwith mlflow.start_run():\n    model.fit(x, y)\nraise RuntimeError('afterwards')\n"
    launched = train(script, config=config)
    assert launched.wait(300) == 1, launched.log
    assert the_run(mlflow, config)[0]["status"] == "FAILED"


def test_a_run_that_a_process_of_the_script_s_ends_is_running_again_while_the_script_goes_on(train, mlflow, config):
    script = TRAINS + (
        "import subprocess, sys, time\n"
        "code = 'import mlflow\\nwith mlflow.start_run(): mlflow.log_metric(\"f1\", 1)'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
        "open('ended', 'w').close()\n"
        "wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.2))\n"
        "model.fit(x, y, epochs=200, callbacks=[wait])\n"
    )
    launched = train(script, config=config)
    wait_until((launched.work / "ended").exists, 300, "the script's process has ended the run")
    wait_until(lambda: the_run(mlflow, config)[0]["status"] == "RUNNING", 20, "the run is RUNNING again")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log
    assert the_run(mlflow, config)[0]["status"] == "RUNNING"


def test_a_run_below_the_job_s_is_the_script_s_own(train, mlflow, config):
    script = TRAINS + "import mlflow\nwith mlflow.start_run(nested=True):\n    mlflow.log_metric('f1', 0.5)\n" + FIT
    launched = train(script, config=config)
    assert launched.wait(300) == 0, launched.log

    below, above = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in below["data"]["tags"]}
    assert tags["mlflow.parentRunId"] == above["info"]["run_id"]
    assert (below["info"]["status"], above["info"]["status"]) == ("FINISHED", "FINISHED")


def test_figures_and_texts_are_kept_with_the_run(train, mlflow, s3, config):
    script = (
        TRAINS
        + FIT
        + (
            "import mlflow, matplotlib.pyplot as plt\n"
            "figure, axes = plt.subplots()\naxes.plot([1, 2])\n"
            "mlflow.log_figure(figure, 'curve.png')\nmlflow.log_text('fine', 'note.txt')\n"
        )
    )
    launched = train(script, config=config)
    assert launched.wait(300) == 0, launched.log
    uri = the_run(mlflow, config)[0]["artifact_uri"].removeprefix("s3://")
    bucket, _, prefix = uri.partition("/")
    kept = {key.removeprefix(f"{prefix}/") for key in s3.keys(bucket, prefix)}
    assert kept == {
        *("curve.png", "note.txt", "source/train.py", "environment.txt"),
        *("curves/loss.svg", "curves/step/loss.svg"),
    }


SAYS = "from standin_adapter import *\nprint([name for name in os.environ if name.startswith('MLFLOW')])\n"


def test_without_tracking_nothing_is_said_of_mlflow(launch):
    launched = launch(SAYS + "train(1)\n", env={"MLFLOW_TRACKING_URI": ""})
    assert launched.wait() == 0, launched.log
    assert "MLFLOW_RUN_ID" not in launched.log


def test_without_tracking_a_script_that_logs_goes_on_after_it_was_killed(train, s3):
    script = (
        TRAINS + "import mlflow, os, signal, time\n"
        "first = not os.environ.get('HEADRACE_RESUME_DIR')\n"
        "def step(batch, logs):\n"
        "    time.sleep(0.05)\n"
        "    if first and os.path.exists('kept') and batch == 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "def epoch(number, logs):\n"
        "    mlflow.log_metric('f1', number, step=number)\n"
        "    if number == 5:\n"
        "        time.sleep(1)\n"
        "        open('kept', 'w').close()\n"
        "follow = keras.callbacks.LambdaCallback(on_train_batch_end=step, on_epoch_end=epoch)\n"
        "with mlflow.start_run():\n"
        "    model.fit(x, y, epochs=8, verbose=0, callbacks=[follow])\n"
        "print('ENDED', sorted(os.listdir('.')))\n"
    )
    bucket = s3.bucket()
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 0.1, "keep": 3},
    }
    first = train(script, config=config)
    assert first.wait(300) == 3, first.log
    assert first.record["checkpoint"]["step"] > 0
    second = train(script, config=config, attempt=2)
    assert second.wait(300) == 0, second.log
    assert "ENDED" in second.log


def test_of_several_workers_the_chief_alone_logs(launch, mlflow, config):
    two = {**config, "workers": {"count": 2, "port": 2222, "addresses": ["localhost", "localhost"]}}
    script = "import mlflow\nmlflow.set_experiment('x')\nwith mlflow.start_run():\n    mlflow.log_metric('f1', 1)\n"
    launched = launch(SAYS + script + "train(1)\n", config=two, env={"JOB_COMPLETION_INDEX": "1"})
    assert launched.wait() == 0, launched.log
    assert not mlflow.runs(config["tracking"]["experimentId"])
    assert "MLFLOW_RUN_ID" not in launched.log


def test_an_mlflow_that_is_away_at_the_start_is_said_once_and_stops_no_script_that_logs(launch):
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen("http://127.0.0.1:9", timeout=5)
    away = {"url": "http://127.0.0.1:9", "experiment": "e", "experimentId": "1"}
    script = "from standin_adapter import *\nimport mlflow\nmlflow.log_metric('f1', 1)\ntrain(3)\n"
    launched = launch(script, config={"tracking": away}, env={"HEADRACE_OUTAGE_SECONDS": "1"})
    assert launched.wait() == 4, launched.log
    assert launched.record["progress"]["step"] == 3
    assert launched.log.count("stays in its pod") == 1


def test_a_script_that_turns_to_a_server_of_its_own_is_left_alone(train, mlflow, config):
    script = (
        TRAINS + "import mlflow\nmlflow.set_tracking_uri('sqlite:///own.db')\nwith mlflow.start_run() as run:\n"
        "    mlflow.log_metric('f1', 0.9)\nprint('OWN', mlflow.get_run(run.info.run_id).info.status)\n" + FIT
    )
    launched = train(script, config=config)
    assert launched.wait(300) == 0, launched.log
    assert "OWN FINISHED" in launched.log
    assert "f1" not in the_run(mlflow, config)[1]


def test_what_the_processes_of_a_shell_script_log_lands_in_the_job_s_run(launch, mlflow, config):
    python = f'{sys.executable} -c \'import mlflow\nmlflow.set_experiment("mine")\nwith mlflow.start_run(): '
    script = "set -e\n" + "".join(f'{python}mlflow.log_metric("m{number}", {number})\'\n' for number in range(2))
    launched = launch(script, config={**config, "framework": "Script"}, entrypoint="train.sh")
    assert launched.wait(120) == 0, launched.log
    info, metrics = the_run(mlflow, config)
    assert metrics == {"m0": 0, "m1": 1}
    assert (info["status"], info["run_name"]) == ("FINISHED", "job")


AUTOLOG = "log_models=False, log_datasets=False"
LOGS_THE_SAME = {
    "autolog": (f"mlflow.autolog({AUTOLOG})", "[]"),
    "autolog of each step": (f"mlflow.tensorflow.autolog({AUTOLOG}, log_every_epoch=False, log_every_n_steps=1)", "[]"),
    "callback": ("mlflow.start_run()", "[mlflow.tensorflow.MlflowCallback()]"),
}


@pytest.mark.parametrize(("before", "callbacks"), LOGS_THE_SAME.values(), ids=LOGS_THE_SAME)
def test_a_metric_that_the_launcher_logs_is_there_once(train, mlflow, config, before, callbacks):
    script = TRAINS + (
        "import json, mlflow\n"
        f"{before}\n"
        f"fitted = model.fit(x, y + 1, epochs=4, batch_size=8, validation_split=0.5, callbacks={callbacks})\n"
        "model.evaluate(x, y)\n"
        "mlflow.log_metrics({'val_loss': 77, 'eval_loss': 77, 'f1': 0.9}, step=9)\n"
        "mlflow.log_metric('loss', 77, step=99, synchronous=False).wait()\n"
        "with mlflow.start_run(nested=True):\n"
        "    mlflow.log_metric('loss', 77)\n"
        "print('FITTED', json.dumps(fitted.history['val_loss']))\n"
    )
    launched = train(script, config=config)
    assert launched.wait(300) == 0, launched.log

    [run] = [run for run in mlflow.runs(config["tracking"]["experimentId"]) if run["info"]["run_name"] == "job"]

    def history(key):
        entries = mlflow.history(run["info"]["run_id"], key)
        return sorted((entry.get("step", 0), entry["value"]) for entry in entries)

    [fitted] = [line.removeprefix("FITTED") for line in launched.log.splitlines() if line.startswith("FITTED")]
    assert history("val_loss") == [(epoch, pytest.approx(value)) for epoch, value in enumerate(json.loads(fitted), 1)]
    assert [step for step, _ in history("loss")] == list(range(1, 17))
    assert [step for step, _ in history("epoch/loss")] == [1, 2, 3, 4]
    assert [step for step, _ in history("eval_loss")] == [1]
    assert history("f1") == [(9, 0.9)]
    assert launched.log.count("mlflow metric loss is left out") == 1


REGISTERS = """
import mlflow, numpy
from mlflow import MlflowClient
class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
with mlflow.start_run() as run:
    info = mlflow.pyfunc.log_model(name="twice", python_model=Twice(), registered_model_name="tutorial")
    version = mlflow.register_model(f"runs:/{run.info.run_id}/twice", "tutorial")
    client = MlflowClient()
    client.create_registered_model("by-client")
    made = client.create_model_version("by-client", info.model_uri, run.info.run_id)
    client.set_registered_model_alias("by-client", "champion", made.version)
    client.transition_model_version_stage(name="tutorial", version=version.version, stage="Production")
assert client.get_model_version("tutorial", version.version).status == "READY"
mlflow.pyfunc.load_model(info.model_uri)
# One text: threads of a progress bar write to the log, too.
print(f"GOES ON {version.name} {int(version.version)} {int(made.version)} {int(info.registered_model_version)}")
mlflow.set_registry_uri("sqlite:///own.db")
print(f"ITS OWN {mlflow.register_model(info.model_uri, 'own').version}")
"""


def registered(mlflow):
    """Names of models, of other tests too."""
    return [one["name"] for one in mlflow.call("GET", "registered-models/search").get("registered_models", [])]


@pytest.mark.parametrize("framework", ["Keras", "Script"])
def test_a_model_that_a_script_registers_is_logged_and_left_out_of_the_registry(
    launch, train, mlflow, config, framework
):
    config = {**config, "framework": framework}
    before = registered(mlflow)
    if framework == "Keras":
        launched = train(TRAINS + FIT + REGISTERS, config=config)
    else:
        launched = launch(REGISTERS, config=config, env={**QUIET, "PYTHONPATH": f"{TRAINER}:{CLIENT}"})
    assert launched.wait(300) == 0, launched.log
    assert "GOES ON tutorial 0 0 0" in launched.log
    assert "ITS OWN 1" in launched.log
    assert registered(mlflow) == before
    assert launched.log.count("is left out: the job registers its own") == 2  # of each name once
    assert "spec.output.model" in launched.log
