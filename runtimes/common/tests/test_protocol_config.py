"""HEADRACE_CONFIG: what is written is what is read, and what cannot be read is told by its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace_common.evaluation import Task
from headrace_common.formats import ModelFormat
from headrace_common.protocol.config import (
    Access,
    Checkpoints,
    Config,
    Dataset,
    HeldOut,
    Job,
    Prepare,
    Shard,
    Stage,
    Tracking,
    Unpack,
    Workers,
    parse_config,
)
from headrace_common.protocol.evaluate import Baseline, Card, Comparison, Evaluate, EvaluatedModel, EvaluationData
from headrace_common.protocol.fields import CannotBeDone, NotUnderstood, OtherProtocol
from headrace_common.protocol.spark import Spark
from headrace_common.protocol.storage import Storage
from headrace_common.protocol.tables import Tables

TEXT, WORD = st.text(max_size=20), st.text(min_size=1, max_size=20)
SECONDS = st.integers(0, 10**6) | st.floats(0, 1e6)
PATHS = st.from_regex(r"/[a-z]{1,8}(/[a-z.]{1,8}x)?", fullmatch=True).map(Path)
URIS = st.from_regex(r"s3://[a-z]{3,8}(/[a-z0-9.-]{1,8}){0,3}", fullmatch=True)
DIGESTS = st.sampled_from(["", "sha256:" + "0" * 64])
DATASETS = st.builds(Dataset, WORD, URIS, PATHS, DIGESTS, unpack=st.none() | st.sampled_from(Unpack))
CHECKPOINTS = st.builds(Checkpoints, URIS, SECONDS, st.integers(1, 99), SECONDS)
URLS = st.from_regex(r"https?://[a-z.]{1,12}(:[0-9]{2,4})?", fullmatch=True)


@st.composite
def workers(draw):
    names = draw(st.lists(WORD, min_size=1, max_size=4))
    addresses = tuple(names) if len(names) > 1 else ()
    return Workers(len(names), draw(st.integers(1, 65535)), addresses, draw(SECONDS))


@st.composite
def evaluations(draw):
    task = draw(st.sampled_from(Task))
    digest, names = st.just("sha256:" + "0" * 64), st.lists(WORD, max_size=3).map(tuple)
    data = st.builds(EvaluationData, WORD, TEXT, WORD, st.dictionaries(WORD, names, max_size=2), TEXT, TEXT, WORD, TEXT)
    return Evaluate(
        task=task,
        model=draw(st.builds(EvaluatedModel, URIS, digest)),
        baseline=draw(st.none() | st.builds(Baseline, URIS, digest, TEXT, TEXT)),
        format=draw(st.sampled_from(["", "ONNX", "TensorFlow"])),
        data=None if task is Task.SCRIPT else draw(data),
        slices=draw(names),
        sensitive=draw(names),
        comparisons=tuple(draw(st.lists(st.builds(Comparison, WORD, TEXT, st.floats(0.5, 0.999)), max_size=2))),
        card=draw(st.builds(Card, TEXT, TEXT, TEXT)),
        parent=draw(TEXT),
        training=draw(TEXT),
    )


@st.composite
def configs(draw):
    storage = draw(st.none() | st.builds(Storage, TEXT, TEXT))
    tracking = draw(st.none() | st.builds(Tracking, URLS, TEXT, WORD))
    formats = draw(st.lists(st.sampled_from([str(name) for name in ModelFormat]), unique=True))
    has_output = bool(storage and tracking and formats)
    prepare = draw(st.none() | st.builds(Prepare, WORD, URIS, TEXT)) if storage else None
    evaluate = draw(st.none() | evaluations()) if storage and tracking and not prepare else None
    checkpoints = draw(st.none() | CHECKPOINTS) if storage else None
    divided = Shard.BY_WORKER if checkpoints else None
    datasets = [replace(one, shard=divided) for one in draw(st.lists(DATASETS, max_size=2))] if storage else []
    stage = Stage.PREPARE if prepare else Stage.EVALUATE if evaluate else Stage.TRAIN
    return Config(
        job=draw(st.builds(Job, WORD, WORD, WORD, st.integers(1))),
        framework=draw(TEXT),
        strategy=draw(TEXT),
        gpus=draw(st.integers(0, 99)),
        workers=draw(workers()),
        source=draw(PATHS),
        entrypoint=draw(WORD),
        parameters=draw(
            st.dictionaries(TEXT, st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT, max_size=5)
        ),
        datasets=tuple(datasets),
        storage=storage,
        tracking=tracking,
        checkpoints=checkpoints,
        formats=tuple(formats) if has_output else (),
        progress_port=draw(st.integers(0, 65535)),
        keeps_rows=draw(st.booleans()) if has_output else True,
        optional_formats=tuple(formats[:1]) if has_output else (),
        stage=stage,
        prepare=prepare,
        evaluate=evaluate,
        held_out=draw(st.none() | st.builds(HeldOut, DATASETS, TEXT, st.dictionaries(WORD, TEXT, max_size=2))),
    )


@given(configs())
def test_what_is_written_is_what_is_read(config):
    assert parse_config(config.as_text()) == config


@pytest.mark.parametrize("name", wire_examples.names("config"))
def test_what_earlier_releases_wrote_is_read_and_written_again(name):
    assert parse_config(wire_examples.text(name)).as_text() == wire_examples.text(name)


def gang() -> dict:
    return json.loads(wire_examples.text("config-gang"))


def test_what_a_later_operator_adds_is_left_alone():
    told = gang()
    told |= {"later": {"a": 1}}
    told["workers"]["later"] = told["datasets"][0]["later"] = 1
    assert parse_config(json.dumps(told)).as_json() == gang()


def test_what_an_earlier_operator_did_not_know_has_a_value():
    told = gang()
    for name in ("framework", "strategy", "gpus", "datasets", "parameters", "progressPort"):
        del told[name]
    del told["checkpoint"]["replaySeconds"], told["workers"]["nameDeadlineSeconds"], told["workers"]["port"]
    config = parse_config(json.dumps(told))
    whole = parse_config(wire_examples.text("config-gang"))
    assert config == replace(
        whole,
        strategy="SingleWorker",
        datasets=(),
        parameters={},
        workers=replace(whole.workers, name_deadline=120.0, port=2222),
        checkpoints=replace(whole.checkpoints, replay=600.0),
    )


@pytest.mark.parametrize(
    "name", ["workers", "storage", "tracking", "checkpoint", "output", "stage", "prepare", "evaluate"]
)
def test_null_is_as_good_as_absent(name):
    told = json.loads(wire_examples.text("config-alone"))
    told.pop(name, None)
    assert parse_config(json.dumps(told | {name: None})) == parse_config(json.dumps(told))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("protocol", "1", 'HEADRACE_CONFIG.protocol must be an integer of at least 0; it is "1"'),
        ("job", None, "HEADRACE_CONFIG.job must be an object; it is absent"),
        ("job.attempt", 0, "HEADRACE_CONFIG.job.attempt must be an integer of at least 1; it is 0"),
        ("job.attempt", True, "HEADRACE_CONFIG.job.attempt must be an integer of at least 1; it is true"),
        ("job.name", "", 'HEADRACE_CONFIG.job.name must be a text that is not empty; it is ""'),
        ("gpus", 0.5, "HEADRACE_CONFIG.gpus must be an integer of at least 0; it is 0.5"),
        ("workers", [], "HEADRACE_CONFIG.workers must be an object; it is []"),
        ("workers.count", 3, "HEADRACE_CONFIG.workers.addresses must be 3 names, one a worker; it is ["),
        (
            "workers.nameDeadlineSeconds",
            float("nan"),
            "HEADRACE_CONFIG.workers.nameDeadlineSeconds must be a number that is not negative; it is NaN",
        ),
        ("datasets.1.uri", 1, "HEADRACE_CONFIG.datasets[1].uri must be a text that is not empty; it is 1"),
        ("datasets", {}, "HEADRACE_CONFIG.datasets must be a list; it is {}"),
        (
            "datasets.1.digest",
            "md5:00",
            'HEADRACE_CONFIG.datasets: digest of images must be sha256: and 64 hex digits; it is "md5:00"',
        ),
        ("prepare", "corpus", 'HEADRACE_CONFIG.prepare must be an object; it is "corpus"'),
        ("parameters.epochs", [1], "HEADRACE_CONFIG.parameters.epochs must be a text, number or boolean; it is [1]"),
        (
            "tracking.url",
            "ftp://x",
            'HEADRACE_CONFIG.tracking.url must be an http:// or https:// address; it is "ftp://x"',
        ),
        (
            "checkpoint.intervalSeconds",
            -1,
            "HEADRACE_CONFIG.checkpoint.intervalSeconds must be a number that is not negative; it is -1",
        ),
        (
            "output.formats",
            ["Pickle"],
            'HEADRACE_CONFIG.output.formats must be made of TensorFlow and ONNX and Keras and Text; it is "Pickle"',
        ),
    ],
    ids=str,
)
def test_a_bad_field_is_told_by_its_place(path, value, sentence):
    told = gang()
    *parents, last = path.split(".")
    inner = told
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = value

    with pytest.raises(NotUnderstood) as caught:
        parse_config(json.dumps(told))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000], ids=["nothing", "half", "deep"])
def test_what_is_no_json_is_told(text):
    with pytest.raises(NotUnderstood, match="HEADRACE_CONFIG is not JSON"):
        parse_config(text)


def test_another_protocol_is_told_by_both_numbers():
    with pytest.raises(OtherProtocol, match="the operator speaks protocol 9, this launcher speaks 1, 2, 3, 4"):
        parse_config(json.dumps(gang() | {"protocol": 9}))


SPARK = Spark(2, {"spark.master": "local"}, {}, {"kind": "Pod"}, "s3://b/staging/uid", 600.0)


def prepared_by_spark(**changes: Any) -> dict[str, Any]:
    """What the instructions of a preparation by Spark have, with these fields of `spark` in place of its own."""
    return {"stage": "prepare", "prepare": {"name": "x", "uri": "s3://b/x", "spark": SPARK.as_json() | changes}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"executors": 0}, "HEADRACE_CONFIG.prepare.spark.executors must be an integer of at least 1; it is 0"),
        ({"conf": {"spark.a": 1}}, "HEADRACE_CONFIG.prepare.spark.conf.spark.a must be a text; it is 1"),
        ({"staging": ""}, "HEADRACE_CONFIG.prepare.spark.staging must be a text that is not empty"),
    ],
    ids=["no executors", "a number", "nowhere"],
)
def test_what_is_wrong_of_spark_is_told_with_its_place(change, sentence):
    with pytest.raises(NotUnderstood) as caught:
        parse_config(json.dumps(gang() | prepared_by_spark(**change)))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({}, 1),
        ({"stage": Stage.PREPARE, "prepare": Prepare("x", "s3://b/x")}, 2),
        ({"stage": Stage.PREPARE, "prepare": Prepare("x", "s3://b/x", tables=Tables("corpus"))}, 3),
        ({"stage": Stage.PREPARE, "prepare": Prepare("x", "s3://b/x", spark=SPARK)}, 5),
        ({"datasets": (Dataset("x", "s3://b/x/", Path("/data/x"), "sha256:" + "0" * 64),)}, 2),
        ({"datasets": (Dataset("x", "s3://b/x/", Path("/data/x"), unpack=Unpack.AUTO),)}, 4),
        ({"datasets": (Dataset("x", "s3://b/x/", Path("/data/x"), shard=Shard.BY_WORKER),)}, 4),
        ({"datasets": (Dataset("x", "s3://b/x/", Path("/data/x"), access=Access.STREAM),)}, 4),
    ],
    ids=["neither", "a stage", "tables", "spark", "a digest", "unpacked", "divided", "streamed"],
)
def test_what_a_launcher_that_knows_of_no_stages_would_do_wrong_has_a_number_that_it_refuses(change, number):
    assert replace(parse_config(json.dumps(gang())), **change).as_json()["protocol"] == number


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"storage": None}, "dataset corpus, dataset images, checkpoint, output: there is no storage to read from or"),
        ({"tracking": None}, "output: a model is kept with its run, and there is no tracking"),
        (
            {"datasets": [{"name": "x", "uri": "ftp://b/x", "path": "/data/x"}]},
            "ftp://b/x: this launcher reads datasets",
        ),
        (
            {"datasets": [{"name": "x", "uri": "https://b/x", "path": "/data/x"}]},
            "dataset x: an address of the web has a digest",
        ),
        (
            {"datasets": [{"name": "x", "uri": "s3://b/x", "path": "/data/x", "unpack": "Rar"}]},
            "dataset x: unpack Rar: this launcher knows Auto, Gzip, Zstd, Tar, Zip only",
        ),
        (
            {"datasets": [{"name": "x", "uri": "s3://b/x", "path": "/d", "shard": "ByWorker"}], "checkpoint": None},
            "dataset x: shard: worker 0 tells the others what there is to be divided beside the checkpoints",
        ),
        (
            {"datasets": [{"name": "x", "uri": "pvc://c/", "path": "/data/x", "mount": "/m/x", "shard": "ByWorker"}]},
            "dataset x: a volume is mounted as it is: not unpacked, divided or streamed",
        ),
        (
            {"datasets": [{"name": "x", "uri": "s3://b/x", "path": "/d", "unpack": "Tar", "access": "Stream"}]},
            "dataset x: what is unpacked, or of the web, is read whole and not streamed",
        ),
        ({"stage": "deploy"}, "stage deploy: this launcher knows prepare, train, tune, evaluate only"),
        ({"stage": "tune"}, "tuning: a stage of tuning has it, and no other stage"),
        ({"stage": "evaluate"}, "evaluate: a stage of evaluation has it, and no other stage"),
        ({"stage": "prepare"}, "prepare: a stage of preparation has it, and no other stage"),
        ({"prepare": {"name": "x", "uri": "s3://b/x"}}, "prepare: a stage of preparation has it, and no other stage"),
        ({"stage": "prepare", "prepare": {"name": "x", "uri": "gs://b/x"}}, "gs://b/x: this launcher writes to"),
        (
            {"stage": "prepare", "prepare": {"name": "x", "uri": "s3://b/x", "tables": {"dataset": "raw"}}},
            "prepare.tables: dataset raw is none of those that are fetched",
        ),
        (
            prepared_by_spark() | {"datasets": [{"name": "web", "uri": "gs://b/x", "path": "/data/web"}]},
            "prepare.spark: executors read s3:// only, not dataset web",
        ),
        (prepared_by_spark(staging="gs://b/staging"), "gs://b/staging: this launcher writes to"),
        (
            {"stage": "prepare", "prepare": {"name": "x", "uri": "s3://b/x"}, "storage": None},
            "dataset corpus, dataset images, checkpoint, output, prepare: there is no storage to read from or",
        ),
    ],
    ids=[
        "storage",
        "tracking",
        "scheme",
        "web",
        "unpack",
        "no place to agree",
        "volume",
        "streamed",
        "stage",
        "no tuning",
        "no evaluate",
        "no prepare",
        "prepare",
        "scheme of prepare",
        "tables",
        "spark on another store",
        "spark to another store",
        "no storage",
    ],
)
def test_what_cannot_be_done_together_is_told(change, sentence):
    with pytest.raises(CannotBeDone) as caught:
        parse_config(json.dumps(gang() | change))
    assert str(caught.value).startswith(sentence)


def evaluation(**changes) -> str:
    """The instructions of an evaluation, with these fields of `evaluate` in place of its own."""
    told = json.loads(wire_examples.text("config-evaluate"))
    return json.dumps(told | {"evaluate": told["evaluate"] | changes})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": "Clustering"}, "task Clustering: this launcher knows Classification, Regression, Ranking, TextGener"),
        ({"task": "Script"}, "evaluate.data: task Script has none"),
        ({"data": None}, "evaluate.data: task Classification has to have it"),
        ({"task": "Ranking"}, "evaluate.data.group: task Ranking needs the column that says which query"),
        ({"model": {"uri": "s3://b/m", "digest": "1"}}, "HEADRACE_CONFIG.evaluate: digest of s3://b/m must be sha256:"),
        (
            {"model": {"uri": "gs://b/m", "digest": "sha256:" + "0" * 64}},
            "gs://b/m: this launcher reads models from s3:",
        ),
        ({"format": "Keras"}, 'HEADRACE_CONFIG.evaluate.format must be ONNX or TensorFlow; it is "Keras"'),
        ({"slices": [1]}, "HEADRACE_CONFIG.evaluate.slices must be made of texts that are not empty; it is 1"),
        (
            {"data": {"dataset": "x", "inputs": {"image": "pixels"}}},
            'HEADRACE_CONFIG.evaluate.data.inputs.image must be a list; it is "pixels"',
        ),
        (
            {"comparisons": [{"metric": "accuracy", "confidence": 1}]},
            "HEADRACE_CONFIG.evaluate.comparisons: confidence must be from 0.5 to less than 1; it is 1",
        ),
    ],
    ids=str,
)
def test_an_evaluation_that_cannot_be_done_is_told_by_its_place(change, sentence):
    with pytest.raises(NotUnderstood) as caught:
        parse_config(evaluation(**change))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("storage", "dataset corpus, evaluate: there is no storage to read from or write to"),
        ("tracking", "evaluate: what is measured is kept in a run, and there is no tracking"),
    ],
)
def test_what_an_evaluation_needs_is_told(without, sentence):
    told = json.loads(wire_examples.text("config-evaluate"))
    del told[without]
    with pytest.raises(CannotBeDone) as caught:
        parse_config(json.dumps(told))
    assert str(caught.value) == sentence


def test_only_headraces_own_program_has_no_entrypoint():
    assert parse_config(evaluation()).entrypoint == ""
    script = json.loads(wire_examples.text("config-evaluate-script"))
    script["source"]["entrypoint"] = ""
    with pytest.raises(NotUnderstood, match=r"source\.entrypoint must be a text that is not empty"):
        parse_config(json.dumps(script))
