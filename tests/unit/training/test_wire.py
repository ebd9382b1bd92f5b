"""What the operator writes into HEADRACE_CONFIG: the words that launchers of earlier releases read, and whatever the
spec asks for, nothing that a launcher would not understand.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace.training.job import AttemptContext, launcher_config, render_job
from headrace_common.protocol.config import parse_config
from headrace_common.protocol.fields import CannotBeDone
from training_builders import SETTINGS, training_job

OUTSIDE = {
    "datasets": [{"name": "corpus", "uri": "s3://team-a/corpus.txt"}, {"name": "images", "uri": "s3://team-a/images/"}],
    "tracking": {"experiment": "text-generation"},
    "output": {"model": "text", "formats": ["TensorFlow", "ONNX"]},
    "checkpoint": {"interval": "5m", "keep": 2},
}
JOBS = {
    "config-gang": (
        training_job(
            workers=2,
            parameters={"epochs": 10, "learning_rate": 0.001, "shuffle": True, "note": "für $(HOME)"},
            startDeadlineSeconds=600,
            **OUTSIDE,
        ),
        AttemptContext(2, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-alone": (
        training_job(workers=1),
        AttemptContext(1, "trainer:1"),
        replace(SETTINGS, storage=None, tracking=None),
    ),
    "config-program": (
        training_job(
            framework="Script",
            strategy={"type": "MultiWorker", "workers": 3},
            entrypoint="train.sh",
            resources={"limits": {"nvidia.com/gpu": 2}},
            **OUTSIDE | {"checkpoint": {"resume": "Fast", "interval": "90s"}},
        ),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
}


def written(job, context, settings):
    """As the kubelet gives it to the container."""
    [container] = render_job(job, context, settings)["spec"]["template"]["spec"]["containers"]
    [value] = [one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG"]
    return value.replace("$$", "$")


@pytest.mark.parametrize("name", JOBS)
def test_what_is_written_is_what_launchers_of_earlier_releases_read(name):
    assert written(*JOBS[name]) == wire_examples.text(name)


STRATEGIES = [
    ("Keras", {"type": "SingleWorker"}),
    ("Keras", {"type": "Mirrored"}),
    ("Keras", {"type": "MultiWorkerMirrored", "workers": 3}),
    ("Script", {"type": "SingleWorker"}),
    ("Script", {"type": "MultiWorker", "workers": 2}),
]
PARAMETERS = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@st.composite
def rendered(draw):
    """What `launcher_config` takes, and whether there is what the spec asks for."""
    framework, strategy = draw(st.sampled_from(STRATEGIES))
    spec = {"framework": framework, "strategy": strategy}
    spec |= draw(st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in OUTSIDE.items()}))
    spec |= draw(
        st.fixed_dictionaries(
            {"parameters": st.dictionaries(st.text(min_size=1, max_size=9), PARAMETERS, max_size=4)},
            optional={
                "startDeadlineSeconds": st.integers(1, 10**6),
                "resources": st.integers(0, 8).map(lambda count: {"limits": {"nvidia.com/gpu": count}}),
                "checkpoint": st.fixed_dictionaries(
                    {},
                    optional={
                        "interval": st.sampled_from(["10s", "1h30m", "500ms"]),
                        "keep": st.integers(1, 10),
                        "resume": st.sampled_from(["Exact", "Fast"]),
                        "maxReplay": st.sampled_from(["0s", "90s"]),
                    },
                ),
            },
        )
    )
    has_storage, has_tracking = draw(st.booleans()), draw(st.booleans())
    settings = replace(
        SETTINGS,
        storage=SETTINGS.storage if has_storage else None,
        tracking=SETTINGS.tracking if has_tracking else None,
    )
    context = AttemptContext(
        draw(st.integers(1, 99)),
        "trainer:1",
        experiment_id="3" if has_tracking else "",
        bucket="team-a" if has_storage else "",
    )
    tracked = has_tracking and "tracking" in spec
    lacks = ("output" in spec and not (has_storage and tracked)) or ("datasets" in spec and not has_storage)
    return (training_job(**spec), context, settings), lacks


@given(rendered())
def test_whatever_the_operator_writes_the_launcher_understands(given_rendered):
    arguments, lacks = given_rendered
    if lacks:  # the attempt then fails with these words
        with pytest.raises(CannotBeDone):
            parse_config(written(*arguments))
    else:
        assert parse_config(written(*arguments)) == launcher_config(*arguments)
