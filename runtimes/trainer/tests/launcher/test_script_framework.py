"""`framework: Script`: any program, told of by the client library or by a line in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from trainer_support import CLIENT, TRAINER, wait_until

RAISED = ("UserCode", "ScriptRaised")


def test_a_file_in_the_outputs_folder_is_an_artifact_of_the_run(program, outside, s3):
    bucket, config = outside
    launched = program(
        """
        import headrace_client as headrace
        (headrace.outputs() / "report.txt").write_text("fine")
        """,
        config={**config, "output": None},
    )
    assert launched.wait() == 0, launched.log
    [key] = [key for key in s3.keys(bucket) if "/outputs/" in key]
    assert (key.rsplit("/", 1)[1], s3.get(bucket, key)) == ("report.txt", b"fine")


def test_a_script_that_ends_well_has_succeeded_whatever_it_did(program):
    launched = program("print('nothing to do with Keras')")
    assert launched.wait() == 0, launched.log
    assert launched.record["outcome"] == "Succeeded"


def test_what_it_logs_is_in_the_run_and_in_the_record(program, mlflow, outside):
    _, config = outside
    script = """
        import headrace_client as headrace
        for step in range(1, 4):
            headrace.log({"loss": 1 / step, "accuracy": float("nan")}, step=step)
            headrace.progress(step=step, steps=4)
        """
    launched = program(script, config={**config, "output": None})
    assert launched.wait() == 0, launched.log
    record = launched.record
    assert record["metrics"] == {"loss": pytest.approx(1 / 3), "accuracy": "NaN"}
    assert (record["progress"]["step"], record["progress"]["steps"], record["progress"]["percent"]) == (3, 4, 75.0)
    history = mlflow.history(record["run"]["id"], "loss")
    assert {entry["step"]: entry["value"] for entry in history} == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}


def test_a_shell_script_logs_with_echo(program, tmp_path):
    script = (
        'echo \'{"type":"step","fit":0,"epoch":0,"step":7,"time":1,"metrics":{"loss":0.5}}\' > "$HEADRACE_MESSAGES"'
    )
    launched = program(script, entrypoint="train.sh")
    assert launched.wait() == 0, launched.log
    assert launched.record["metrics"] == {"loss": 0.5}


def test_a_shell_script_runs_in_the_shell_that_its_first_line_names(program):
    script = "#!/usr/bin/env bash\nset -o pipefail\nread -r word <<< 'in bash'\necho \"said: $word\""
    launched = program(script, entrypoint="train.sh")
    assert launched.wait() == 0, launched.log
    assert "said: in bash" in launched.log


def test_an_interpreter_that_is_not_there_is_told(program):
    launched = program("#!/usr/bin/nowhere\nx", entrypoint="train.sh")
    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Config", "EntrypointNotFound")
    assert "/usr/bin/nowhere" in launched.record["message"]


def test_the_model_that_it_hands_over_is_kept_with_its_manifest(program, s3, outside):
    bucket, config = outside
    script = r"""
        import headrace_client as headrace
        open("trained.onnx", "wb").write(b"\x08\x08\x3a\x00")
        headrace.export("trained.onnx", format="ONNX")
        """
    launched = program(script, config=config)
    assert launched.wait() == 0, launched.log
    model = launched.record["model"]
    assert model["formats"] == ["ONNX"]
    prefix = model["uri"].removeprefix(f"s3://{bucket}/")
    assert s3.get(bucket, f"{prefix}/onnx/model.onnx") == b"\x08\x08\x3a\x00"
    assert json.loads(s3.get(bucket, f"{prefix}/manifest.json"))["formats"] == {"ONNX": "onnx"}


def test_a_model_that_no_server_can_read_is_not_registered(program, s3, outside):
    bucket, config = outside
    script = """
        import headrace_client as headrace
        open("trained.onnx", "w").write("the bytes")
        headrace.export("trained.onnx", format="ONNX")
        """
    launched = program(script, config=config)
    assert launched.wait() == 2, launched.log
    record = launched.record
    assert (record["class"], record["reason"]) == ("Config", "BadConfig")
    assert "ONNX was handed over and cannot be used: onnx/model.onnx is no ONNX model" in record["message"]
    assert 'headrace_client.export("FILE", format="ONNX")' in record["hint"]
    assert not [key for key in s3.keys(bucket) if key.endswith("manifest.json")]


def test_formats_that_two_processes_hand_over_are_one_model(program, outside):
    script = r"""
        import os, subprocess, sys
        os.mkdir("saved")
        open("trained.onnx", "wb").write(b"\x08\x08\x3a\x00")
        open("saved/saved_model.pb", "wb").write(b"\x08\x01\x12\x00")
        for call in ("'trained.onnx', format='ONNX'", "'saved', format='TensorFlow'"):
            code = f"import headrace_client; headrace_client.export({call})"
            subprocess.run([sys.executable, "-c", code], check=True)
        """
    launched = program(script, config={**outside[1], "output": {"formats": ["ONNX", "TensorFlow"]}})
    assert launched.wait() == 0, launched.log
    assert launched.record["model"]["formats"] == ["ONNX", "TensorFlow"]
    assert "modelNote" not in launched.record


def test_formats_that_nobody_asked_for_by_name_are_not_missed(program, mlflow, outside):
    script = r"""
        import sys, headrace_client as headrace
        if "--model=yes" in sys.argv:
            open("trained.onnx", "wb").write(b"\x08\x08\x3a\x00")
            headrace.export("trained.onnx", format="ONNX")
        """
    formats = ["TensorFlow", "ONNX"]
    config = {**outside[1], "output": {"formats": formats, "optional": formats}}
    launched = program(script, config={**config, "parameters": {"model": "yes"}})
    assert launched.wait() == 0, launched.log
    assert launched.record["model"]["formats"] == ["ONNX"]
    assert "modelNote" not in launched.record
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    assert "headrace.export.TensorFlow" not in {tag["key"] for tag in run["data"]["tags"]}

    without = program(script, config=config, uid="uid-2")
    assert without.wait() == 2, without.log
    assert without.record["message"] == "output asks for a model, and none came"


def test_a_format_that_nobody_handed_over_is_told_as_that(program, mlflow, outside):
    script = r"""
        import headrace_client as headrace
        open("trained.onnx", "wb").write(b"\x08\x08\x3a\x00")
        headrace.export("trained.onnx", format="ONNX")
        """
    config = {**outside[1], "output": {"formats": ["ONNX", "TensorFlow"]}}
    launched = program(script, config=config)
    assert launched.wait() == 0, launched.log
    assert launched.record["model"]["formats"] == ["ONNX"]
    assert launched.record["modelNote"] == "TensorFlow was not handed over"
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.export.TensorFlow"] == "failed: was not handed over"


def test_an_output_that_was_asked_for_and_not_handed_over_fails_with_what_to_write(program, outside):
    launched = program("print('no model')", config=outside[1])
    assert launched.wait() == 2, launched.log
    record = launched.record
    assert (record["class"], record["reason"]) == ("Config", "BadConfig")
    assert record["message"] == "output.formats asks for ONNX, and no model came"
    assert 'headrace_client.export("FILE", format="ONNX")' in record["hint"]


RESUMES = """
import time
import headrace_client as headrace
folder = headrace.last_checkpoint()
start = int((folder / "weights").read_text()) if folder else 0
assert start == headrace.last_step()
print("starts at", start, flush=True)
for step in range(start + 1, 100000):
    headrace.log({"loss": 1 / step}, step=step)
    if headrace.should_stop() or step == start + 5:
        with headrace.checkpoint(step=step) as folder:
            (folder / "weights").write_text(str(step))
        if headrace.should_stop():
            break
    time.sleep(0.02)
"""


def test_a_stopped_script_keeps_a_checkpoint_and_the_next_attempt_goes_on_from_it(program, outside):
    config = {**outside[1], "output": None}
    first = program(RESUMES, config=config)
    wait_until(lambda: first.progress.get("step", 0) >= 8, 30, "eight steps")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 6, first.log
    assert first.record["outcome"] == "Interrupted"
    kept = first.record["checkpoint"]["step"]
    assert kept >= 8

    second = program(RESUMES, config=config, attempt=2)
    wait_until(lambda: second.progress.get("step", 0) > kept, 30, "a step more than were kept")
    assert f"starts at {kept}" in second.log
    second.process.send_signal(signal.SIGTERM)
    second.wait()


def test_a_checkpoint_that_was_killed_half_written_is_none(program, s3, outside):
    bucket, config = outside
    script = """
        import os, signal
        import headrace_client as headrace
        with headrace.checkpoint(step=1) as folder:
            (folder / "weights").write_text("whole")
        with headrace.checkpoint(step=2) as folder:
            (folder / "weights").write_text("ha")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    launched = program(script, config={**config, "output": None})
    assert launched.wait() == 3, launched.log
    assert launched.record["checkpoint"]["step"] == 1
    assert not [key for key in s3.keys(bucket, "checkpoints") if "00000002" in key]


@pytest.mark.parametrize(
    ("script", "failure", "words"),
    [
        ("def f(n):\n    f(n - 1) if n else g()\ndef g():\n    raise OSError('deep')\nf(30)", RAISED, "OSError: deep"),
        ("import os; os.kill(os.getpid(), 40)", ("UserCode", "ScriptExited"), "signal 40"),
        (
            "import time, traceback\ntry:\n    1 / 0\nexcept Exception:\n    traceback.print_exc()\n"
            "time.sleep(1.5)\nfor step in range(11):\n    print(step)\nexit(1)",
            ("UserCode", "ScriptExited"),
            "exit code 1",
        ),
        ("import os\n%matplotlib inline", ("UserCode", "ScriptInvalid"), "SyntaxError: invalid syntax"),
        ("import xgboost_of_nobody", ("Config", "PackageMissing"), "xgboost_of_nobody"),
        ("raise ValueError('a bad\u2013value')", RAISED, "ValueError: a bad\u2013value"),
        ("raise ValueError('first line\\nsecond: line')", RAISED, "ValueError: first line second: line"),
        (
            "import atexit, sys\natexit.register(print, 'cleaning up', file=sys.stderr)\nraise ValueError('the cause')",
            RAISED,
            "ValueError: the cause",
        ),
        ("import sys; sys.exit(3)", ("UserCode", "ScriptExited"), "exit code 3"),
        ("import sys; sys.exit(1)", ("UserCode", "ScriptExited"), "exit code 1"),
    ],
    ids=["deep", "signal", "handled", "syntax", "package", "exception", "lines", "atexit", "exit-3", "exit-1"],
)
def test_a_script_that_fails_says_why(program, script, failure, words):
    launched = program(script)
    launched.wait()
    record = launched.record
    assert (record["class"], record["reason"]) == failure
    assert words in record["message"]


def test_a_parameter_that_the_script_does_not_declare_has_a_hint(program):
    script = "import argparse\nargparse.ArgumentParser().parse_args()"
    launched = program(script, config={"parameters": {"lr": 0.1}})
    launched.wait()
    assert launched.record["message"].endswith("unrecognized arguments: --lr=0.1")
    assert "is passed as --NAME=VALUE: declare it" in launched.record["hint"]
    assert "spec.parameters" in launched.record["hint"]


def test_a_signal_that_is_no_crash_is_not_told_as_one(program):
    launched = program("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(3)")
    launched.wait()
    record = launched.record
    assert (record["reason"], record["message"]) == ("ScriptExited", "the script's process ended by SIGINT")
    assert record["hint"].startswith("Something in the pod sent the signal")


def test_a_file_that_is_no_program_is_told(program):
    launched = program("# nothing", entrypoint="train.r")
    assert launched.wait() == 2
    assert (launched.record["class"], launched.record["reason"]) == ("Config", "EntrypointNotFound")
    assert "train.r cannot be run" in launched.record["message"]


def test_a_framework_that_this_launcher_does_not_know_is_told(launch):
    launched = launch("", config={"framework": "Torch"})
    assert launched.wait() == 2
    assert launched.record["reason"] == "BadConfig"
    assert "HEADRACE_CONFIG.framework must be Keras or Script; it is 'Torch'" in launched.record["message"]


def test_what_is_no_message_is_left_out_and_hurts_nobody(program):
    script = """
        import os, headrace_client as headrace
        for line in (b"\\n", b"no json\\n", b"[]\\n", b'{"type":"step"}\\n', b"x" * 70000 + b"\\n",
                     b'{"type":"exportTrial","model":"","formats":[],"problems":{},"seconds":' + b"9" * 400 + b"}\\n"):
            fd = os.open(os.environ["HEADRACE_MESSAGES"], os.O_WRONLY)
            while line:
                line = line[os.write(fd, line):]
            os.close(fd)
        headrace.log({"loss": 1})
        """
    launched = program(script)
    assert launched.wait() == 0, launched.log
    assert launched.record["metrics"] == {"loss": 1}


def test_a_line_without_an_end_and_a_pipe_that_is_gone_hold_up_nothing(program):
    script = """
        import os, headrace_client as headrace
        headrace.log({"loss": 1})
        with open(os.environ["HEADRACE_MESSAGES"], "w") as pipe:
            pipe.write("no end")
        os.unlink(os.environ["HEADRACE_MESSAGES"])
        headrace.log({"loss": 2})
        """
    launched = program(script)
    assert launched.wait(20) == 0, launched.log
    assert launched.record["metrics"] == {"loss": 1}


def test_whole_numbers_of_other_libraries_are_steps_and_metrics(program):
    script = """
        import numpy as np, headrace_client as headrace
        headrace.log({"loss": np.float32(0.5), "right": np.bool_(True)}, step=np.int64(3), epoch=np.int32(2))
        headrace.progress(step=np.int64(3), steps=np.int64(7), epoch=2, epochs=3)
        """
    launched = program(script)
    assert launched.wait() == 0, launched.log
    record = launched.record
    assert record["metrics"] == {"loss": 0.5, "right": 1}
    assert (record["progress"]["step"], record["progress"]["steps"], record["progress"]["percent"]) == (3, 7, 42.9)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("log({'loss': None})", "TypeError"),
        ("log({'loss': 1}, step=1.5)", "TypeError"),
        ("log({'loss': 1}, epoch=0)", "ValueError"),
        ("progress(step=1, steps=0)", "ValueError"),
        ("export('nowhere.onnx', format='ONNX')", "FileNotFoundError"),
        ("export('train.py', format='Pickle')", "ValueError"),
    ],
)
def test_what_cannot_be_meant_raises_in_the_script(program, call, error):
    launched = program(f"import headrace_client\nheadrace_client.{call}")
    launched.wait()
    assert (launched.record["class"], launched.record["reason"]) == RAISED
    assert launched.record["message"].startswith(error)


def test_two_metrics_whose_names_would_be_one_are_both_in_the_run(program, mlflow, outside):
    script = "import headrace_client\nheadrace_client.log({'ошибка': 1, 'оценка': 2}, step=1)"
    config = {**outside[1], "output": None}
    launched = program(script, config=config)
    assert launched.wait() == 0, launched.log
    [first, second] = sorted(launched.record["metrics"], key=len)
    assert launched.record["metrics"] == {first: 1, second: 2}
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    assert {entry["key"]: entry["value"] for entry in run["data"]["metrics"]} == {first: 1.0, second: 2.0}
    told = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.warning.metrics"]
    assert told.startswith(f"'ошибка' and 'оценка' would both be called {first}: the later one is {second}")


def test_none_of_many_metrics_is_lost(program, mlflow, outside):
    script = "import headrace_client\nheadrace_client.log({f'm{n}': n for n in range(450)})"
    launched = program(script, config={**outside[1], "output": None})
    assert launched.wait() == 0, launched.log
    run_of = mlflow.call("GET", f"runs/get?run_id={launched.record['run']['id']}")["run"]
    # On a busy machine it lasts long enough for those of the system.
    own = {entry["key"] for entry in run_of["data"]["metrics"] if not entry["key"].startswith("system/")}
    assert own == {f"m{number}" for number in range(450)}


def test_a_process_that_the_script_forks_ends_by_sigterm(program):
    script = """
        import os, signal, time, headrace_client as headrace
        headrace.should_stop()
        pid = os.fork()
        if not pid:
            while True:
                time.sleep(0.1)
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        print("ended by", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    launched = program(script)
    assert launched.wait(30) == 0, launched.log
    assert "ended by -15" in launched.log


def test_a_model_that_is_only_claimed_is_none(program, outside):
    script = """
        import os
        with open(os.environ["HEADRACE_MESSAGES"], "w") as pipe:
            pipe.write('{"type":"exported","dir":"/nowhere","formats":["ONNX"]}\\n')
            pipe.write('{"type":"exported","dir":"' + os.environ["HEADRACE_EXPORT_DIR"] + '","formats":["ONNX"]}\\n')
        """
    launched = program(script, config=outside[1])
    assert launched.wait() == 2, launched.log
    assert launched.record["reason"] == "BadConfig"


def test_a_checkpoint_s_files_do_not_take_the_names_of_the_launcher_s(program, outside):
    script = """
        import headrace_client as headrace
        try:
            with headrace.checkpoint(step=0) as folder:
                (folder / "manifest.json").write_text("{}")
        except ValueError as error:
            print("refused:", error)
        with headrace.checkpoint(step=1) as folder:
            (folder / "weights").write_text("w")
        try:
            with headrace.checkpoint(step=1) as folder:
                pass
        except ValueError as error:
            print("refused:", error)
        """
    launched = program(script, config={**outside[1], "output": None})
    assert launched.wait() == 0, launched.log
    assert "refused: manifest.json is a file of Headrace's" in launched.log
    assert "refused: a checkpoint of step 1 after one of step 1" in launched.log
    assert launched.record["checkpoint"]["step"] == 1


def test_a_checkpoint_that_changes_while_it_is_kept_costs_only_itself(program, outside):
    script = """
        import os, shutil, time, headrace_client as headrace
        for step in range(1, 6):
            with headrace.checkpoint(step=step) as folder:
                for number in range(50):
                    (folder / f"{number}").write_bytes(os.urandom(100_000))
            shutil.rmtree(os.path.join(os.environ["HEADRACE_CHECKPOINT_DIR"], f"ckpt-{step:08d}"), ignore_errors=True)
        with open(os.environ["HEADRACE_MESSAGES"], "w") as pipe:
            pipe.write('{"type":"checkpoint","dir":"/tmp/ckpt-00000009","fit":0,"epoch":0,"step":9,"time":1}\\n')
        time.sleep(1)
        headrace.log({"loss": 1})
        """
    launched = program(script, config={**outside[1], "output": None})
    assert launched.wait() == 0, launched.log
    assert launched.record["metrics"] == {"loss": 1}
    assert "/tmp/ckpt-00000009 is not in" in launched.log


def test_a_checkpoint_s_name_that_is_not_utf_8_is_told_where_it_is_written(program, outside):
    script = """
        import os, headrace_client as headrace
        with headrace.checkpoint(step=1) as folder:
            os.mkdir(folder / "deep")
            open(os.fsencode(folder) + b"/deep/caf\\xe9.bin", "w").close()
        """
    launched = program(script, config={**outside[1], "output": None})
    assert launched.wait() == 1, launched.log
    assert launched.record["message"].startswith("ValueError: deep/caf\\xe9.bin")


def test_of_a_checkpoint_empty_folders_are_kept_and_what_is_no_file_is_named(program, mlflow, outside):
    script = """
        import os, sys, time, headrace_client as headrace
        if folder := headrace.last_checkpoint():
            print("found", sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
            sys.exit()
        for step in (1, 2):
            with headrace.checkpoint(step=step) as folder:
                for name in ("empty/deep", "full"):
                    (folder / name).mkdir(parents=True)
                (folder / "full" / "weights").touch()
                (folder / "link").symlink_to("full/weights")
                (folder / "dangling").symlink_to("nowhere")
                (folder / "other").symlink_to("full")
                os.mkfifo(folder / "empty" / "pipe")
            time.sleep(1)
        sys.exit(3)
        """
    config = {**outside[1], "output": None}
    first = program(script, config=config)
    first.wait()
    second = program(script, config=config, attempt=2)
    assert second.wait() == 0, second.log

    here = ["empty", "empty/deep", "full", "full/weights", "link"]
    assert f"found {here}" in second.log
    told = "ckpt-00000001 is kept without dangling (a link to nothing), empty/pipe (a pipe), other (a link to a folder)"
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.warning.checkpoint"] == told  # and not again of the next one
    assert first.log.count("is kept without") == 1


def test_a_checkpoint_that_the_store_cannot_have_costs_only_itself(program, mlflow, outside):
    script = """
        import os, time, headrace_client as headrace
        def keep(step, name):
            folder = os.path.join(os.environ["HEADRACE_CHECKPOINT_DIR"], f"ckpt-{step:08d}")
            os.mkdir(folder)
            open(os.fsencode(folder) + b"/" + name, "w").close()
            with open(os.environ["HEADRACE_MESSAGES"], "w") as pipe:
                at = f'"fit":0,"epoch":0,"step":{step},"time":1'
                pipe.write(f'{{"type":"checkpoint","dir":"{folder}",{at}}}\\n')
            time.sleep(1)
        keep(1, b"weights")
        keep(2, b"caf\\xe9.bin")
        headrace.log({"loss": 1})
        """
    config = {**outside[1], "output": None}
    launched = program(script, config=config)
    assert launched.wait() == 0, launched.log
    assert (launched.record["metrics"], launched.record["checkpoint"]["step"]) == ({"loss": 1}, 1)
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    told = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.warning.checkpoint"]
    assert told == "ckpt-00000002 could not be kept: its file caf\\xe9.bin is not valid Unicode"


def test_messages_of_many_processes_do_not_mix(program):
    script = """
        import multiprocessing, headrace_client as headrace
        def log(worker):
            for step in range(50):
                headrace.log({f"{worker}-{n}-{'x' * 60}": step for n in range(100)}, step=step)
        if __name__ == "__main__":
            with multiprocessing.Pool(4) as pool:
                pool.map(log, range(4))
        """
    launched = program(script)
    assert launched.wait() == 0, launched.log
    assert "not understood" not in launched.log


def test_a_model_that_answers_with_dictionaries_is_refused_where_it_is_handed_over(tmp_path: Path):
    script = """
import headrace_client as headrace
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

X, y = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=300).fit(X, y)
for options in ({"zipmap": False}, {}):
    with open("model.onnx", "wb") as file:
        file.write(to_onnx(model, X[:1].astype("float32"), options=options).SerializeToString())
    headrace.export("model.onnx", format="ONNX")
    print("taken")
"""
    environment = {"PYTHONPATH": str(CLIENT), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("taken\n", 1)
    assert "ValueError: model.onnx: output_probability is a list of dictionaries, which cannot be served" in done.stderr
    assert "options={'zipmap': False}" in done.stderr


def test_outside_of_a_pod_all_of_it_does_nothing(tmp_path: Path):
    script = """
import headrace_client as headrace
headrace.log({"loss": 1}); headrace.progress(step=1, steps=2)
assert headrace.last_checkpoint() is None and not headrace.should_stop() and not headrace.checkpoint_is_due()
with headrace.checkpoint(step=1) as folder:
    (folder / "x").write_text("y")
open("model.onnx", "w").close()
headrace.export("model.onnx", format="ONNX")
"""
    environment = {"PYTHONPATH": str(CLIENT), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_what_a_followed_script_logs_itself_is_there_once_and_does_not_move_its_progress(launch, mlflow):
    tracking = mlflow.experiment("followed", "s3://unused/mlflow")
    script = """
        from standin_adapter import *
        import headrace_client as headrace
        say("fit", fit=0, epochs=1, stepsPerEpoch=None)
        headrace.progress(step=1, steps=8)
        for step in range(1, 5):
            headrace.log({"own": step * 10, "loss": 1 / step}, step=step)
            say("step", fit=0, epoch=0, step=step, time=now(), metrics={"loss": 1 / step})
        headrace.log({"own": 7}, step=100)
        time.sleep(0.5)
        say("trained", kind="custom", steps=4)
        """
    paths = os.pathsep.join([str(TRAINER), str(TRAINER / "tests" / "launcher"), str(CLIENT)])
    launched = launch(textwrap.dedent(script), config={"tracking": tracking}, env={"PYTHONPATH": paths})
    assert launched.wait() == 0, launched.log
    record = launched.record
    assert record["metrics"] == {"own": 7, "loss": 0.25}
    assert (record["progress"]["step"], record["progress"]["steps"]) == (4, 8)
    history = {key: mlflow.history(record["run"]["id"], key) for key in ("own", "loss")}
    assert {entry["step"]: entry["value"] for entry in history["own"]} == {1: 10, 2: 20, 3: 30, 4: 40, 100: 7}
    assert [entry["step"] for entry in history["loss"]] == [1, 2, 3, 4]
