"""Why TensorFlow cannot load or compute a model that is not corrupt, and what to do about it."""

from __future__ import annotations

import re

from headrace_serving.failures import Reason
from headrace_serving.refusals import Refusal

REFUSALS = (
    Refusal(
        re.compile(r"Op type not registered '(?P<operator>[^']*)'"),
        Reason.MODEL_UNSUPPORTED,
        "There is no operator {operator!r}.",
        "Only TensorFlow's own operators are here: export the model without it, or put what it computes before or "
        "behind the model.",
    ),
    Refusal(
        re.compile(r"Missing py trampoline"),
        Reason.MODEL_UNSUPPORTED,
        "The model calls Python (tf.py_function or tf.numpy_function), which is not in a SavedModel.",
        "Export the model with TensorFlow's own operators in its place.",
    ),
    Refusal(
        re.compile(
            r"No OpKernel was registered to support Op '(?P<operator>[^']*)'|No registered '(?P<other>[^']*)' OpKernel"
        ),
        Reason.MODEL_UNSUPPORTED,
        "TensorFlow cannot compute {operator}{other} on a CPU with the types that the model has.",
        "Export with types that it has, mostly float32, and for a CPU.",
    ),
    Refusal(
        re.compile(
            r"GraphDef min consumer version (?P<own>\d+) above current version (?P<highest>\d+) for (?P<who>\S+ \S+)\."
        ),
        Reason.MODEL_UNSUPPORTED,
        "The model needs version {own} of TensorFlow's graphs; {who} takes at most {highest}.",
        "Export with the TensorFlow that is here, or an older one.",
    ),
    Refusal(
        re.compile(r"tags 'serve' could not be found in SavedModel, with available tags '(?P<tags>.*?)'\."),
        Reason.MODEL_UNSUPPORTED,
        "The SavedModel has no graph for serving; it has those tagged {tags}.",
        "Export it with keras.Model.export or tf.saved_model.save, which tag it 'serve'.",
    ),
    Refusal(
        re.compile(r"not a valid checkpoint: \S*?(?P<file>variables/variables)$|(?P<data>variables/\S+); No such file"),
        Reason.MODEL_INCOMPLETE,
        "The model's weights are not there: {file}{data}.",
        "Export the model again, and upload all of its folder, `variables` too.",
    ),
)
