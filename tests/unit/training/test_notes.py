"""What a version carries of its model: what the launcher has told of inputs and outputs, as far as it describes any."""

import pytest

from headrace.tracking.records import Run
from headrace.training.notes import described
from headrace_common.tags import SIGNATURE_TAG
from serving_builders import signature


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (signature(4), signature(4)),
        (signature(4).replace(" [", "["), None),
        ('{"outputs": {"y": "FP32 [-1]"}, "inputs": {"x": "FP32 [-1,4]"}, "more": 1}', signature(4)),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_inputs_and_outputs_are_kept_where_they_are_described(told, kept):
    run = Run("r", "3", "FINISHED", "", tags={} if told is None else {SIGNATURE_TAG: told})

    assert described(run) == ({} if kept is None else {SIGNATURE_TAG: kept})
