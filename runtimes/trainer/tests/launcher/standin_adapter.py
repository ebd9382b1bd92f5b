"""Stands in for an adapter where a test is about the launcher: the script itself says what is to be said.

TensorFlow takes seconds to import; the contract on the pipe is the same.
"""

import json
import os
import runpy
import sys
import time
import traceback


def say(kind, /, **fields):
    line = json.dumps({"type": kind, **fields}).encode() + b"\n"
    os.write(int(os.environ["HEADRACE_CHILD_FD"]), line)


def now():
    return int(time.time() * 1000)


def train(steps, *, start=0, fit=0, epochs=1, pause=0.0, per_epoch=None):
    """A fit that says every step, with a loss that depends on the step alone."""
    per_epoch = per_epoch or steps
    say("fit", fit=fit, epochs=epochs, stepsPerEpoch=per_epoch)
    for step in range(start + 1, steps + 1):
        epoch = (step - 1) // per_epoch
        say("step", fit=fit, epoch=epoch, step=step, time=now(), metrics={"loss": 1 / step})
        if step % per_epoch == 0:
            metrics = {"loss": 1 / step, "val_accuracy": step / (step + 1)}
            say("epoch", fit=fit, epoch=epoch, step=step, time=now(), metrics=metrics)
        time.sleep(pause)
    say("fitEnd", fit=fit, metrics={"loss": 1 / steps})
    say("trained", kind="fit", steps=steps - start)


def checkpoint(number, *, fit=0, epoch=0, content="weights"):
    """A complete local checkpoint."""
    folder = os.path.join(os.environ["HEADRACE_CHECKPOINT_DIR"], f"ckpt-{number:08d}")
    os.makedirs(folder)
    with open(os.path.join(folder, "state.json"), "w") as file:
        file.write(content)
    say("checkpoint", dir=folder, fit=fit, epoch=epoch, step=number, time=now())
    return folder


def export(*formats):
    """A model in the folders that the formats have."""
    folder = os.environ["HEADRACE_EXPORT_DIR"]
    say("exporting")
    files = {"ONNX": "onnx/model.onnx", "TensorFlow": "tensorflow/saved_model.pb"}
    for path in ["signature.json", *(files[name] for name in formats)]:
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "w") as file:
            file.write(f"the bytes of {path}")
    say("exported", dir=folder, formats=list(formats))


def main():
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except Exception as error:  # noqa: BLE001
        text = traceback.format_exc()
        module = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        say(
            "exception",
            time=now(),
            exception=type(error).__name__,
            message=str(error),
            module=module,
            traceback=text[-1000:],
        )
        sys.stderr.write(text)
        sys.exit(1)
    finally:
        say("ended")


if __name__ == "__main__":
    main()
