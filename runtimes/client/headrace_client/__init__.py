"""What a training script of any framework tells Headrace, and asks it.

    import headrace_client as headrace

    headrace.log({"loss": 0.3}, step=10)            a value of each metric, in the run and in `kubectl get`
    headrace.progress(step=10, steps=100)           how far it is
    folder = headrace.last_checkpoint()             what an earlier attempt kept, or None
    with headrace.checkpoint(step=10) as folder:    a checkpoint: complete when the block ends without an error
        ...
    for i in headrace.steps(1000): ...              `framework: Keras`: the iterations of a loop of its own, from where
                                                    it goes on; elsewhere a range
    start = headrace.resumed_step()                 `framework: Keras`: where a loop of its own goes on; 0 at first
    plot.savefig(headrace.outputs() / "loss.png")   a file that is kept with the run
    for file in headrace.open_dataset("images"): ... the files of a dataset, also of one that is streamed
    folder = headrace.dataset_folder()              `prepare`: the folder whose files become the dataset
    folder = headrace.tables_folder()               `prepare`: the folder with what came of `prepare.tables`
    if headrace.should_stop(): ...                  the pod is being stopped: keep a checkpoint and end
    headrace.export("model.onnx", format="ONNX")    the model that becomes a version
    headrace.export(model)                          the same in a job of `framework: Keras`, which needs nothing else
    headrace.text(model, "tokenizer.json")          `framework: Keras`: the model writes text, with this tokenizer

Outside of a pod of Headrace's all of this does nothing, so that a script runs on a laptop as it is; checkpoints and
exports then go nowhere. It uses the standard library alone.
"""

from headrace_client._checkpoints import checkpoint, checkpoint_is_due, last_checkpoint, last_step, resumed_step
from headrace_client._dataset import dataset_folder, tables_folder
from headrace_client._datasets import DatasetFile, DatasetUnavailable, open_dataset
from headrace_client._export import FORMATS, export
from headrace_client._metrics import log, progress
from headrace_client._outputs import outputs
from headrace_client._steps import steps
from headrace_client._stop import should_stop
from headrace_client._text import text
from headrace_client._wire import in_job

__all__ = [
    "FORMATS",
    "DatasetFile",
    "DatasetUnavailable",
    "checkpoint",
    "checkpoint_is_due",
    "dataset_folder",
    "export",
    "in_job",
    "last_checkpoint",
    "last_step",
    "log",
    "open_dataset",
    "outputs",
    "progress",
    "resumed_step",
    "should_stop",
    "steps",
    "tables_folder",
    "text",
]
