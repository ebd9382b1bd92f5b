"""What the spec says of a dataset, as the launcher is told of it."""

from pathlib import Path

import pytest

from headrace.api.program import Dataset
from headrace.training.inputs import told
from headrace_common.protocol import config as protocol

AT = Path("/data/d")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"uri": "s3://b/k/"}, protocol.Dataset("d", "s3://b/k/", AT)),
        ({"uri": "az://c/k"}, protocol.Dataset("d", "az://c/k", AT)),
        (
            {"uri": "https://example.org/d.csv", "sha256": "0" * 64},
            protocol.Dataset("d", "https://example.org/d.csv", AT, "sha256:" + "0" * 64),
        ),
    ],
)
def test_each_kind_of_dataset_is_told_by_its_address(spec, expected):
    assert told(Dataset.model_validate({"name": "d", **spec})) == expected
