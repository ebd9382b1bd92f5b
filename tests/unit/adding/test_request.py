"""The TrainingJob that asks for a version of a given model."""

from __future__ import annotations

import dataclasses

from headrace.adding.request import Origin, Wish, config_map, job_name, place_of, training_job
from headrace.api.trainingjob import TrainingJob
from headrace_common.formats import ModelFormat

DIGEST = "sha256:" + "ab" * 32
WISH = Wish("team-a", "theirs", "added", alias="candidate", secret="headrace-storage")
ORIGIN = Origin(
    place_of("bucket", WISH, DIGEST),
    digest=DIGEST,
    given="theirs.onnx",
    file="theirs.onnx",
    format=ModelFormat.ONNX,
    size=10,
)


def test_it_is_a_job_of_any_program_that_has_the_model_as_its_dataset():
    job = training_job(WISH, ORIGIN)
    spec = job["spec"]
    assert spec["datasets"] == [{"name": "model", "uri": f"s3://bucket/headrace/added/team-a.theirs/{'ab' * 32}/"}]
    assert spec["output"] == {"model": "theirs", "formats": ["ONNX"], "alias": "candidate"}
    assert spec["parameters"] == {"digest": DIGEST, "given": "theirs.onnx", "file": "theirs.onnx"}
    assert spec["source"]["configMap"]["name"] == config_map(WISH, ORIGIN)["metadata"]["name"]
    assert spec["entrypoint"] in config_map(WISH, ORIGIN)["data"]
    TrainingJob.model_validate(job)


def test_approval_and_evaluation_are_those_of_any_job():
    wish = dataclasses.replace(WISH, needs_approval=True, evaluate={"task": "Classification"})
    spec = training_job(wish, ORIGIN)["spec"]
    assert (spec["output"]["approval"], spec["evaluate"]) == ({"required": True}, {"task": "Classification"})


def test_the_same_request_has_the_same_name_and_another_one_another():
    assert job_name(WISH, ORIGIN) == f"add-theirs-{'ab' * 6}"
    long = dataclasses.replace(WISH, model="a" * 22 + "-" + "b" * 40)
    assert len(job_name(long, ORIGIN)) <= 40
    web = [Origin("https://example.org/m.onnx", sha256=digit * 64) for digit in "12"]
    assert len({job_name(WISH, origin) for origin in (ORIGIN, *web)}) == 3


def test_the_program_belongs_to_the_job_once_that_is_there():
    assert "ownerReferences" not in config_map(WISH, ORIGIN)["metadata"]
    [owner] = config_map(WISH, ORIGIN, "uid-1")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("TrainingJob", job_name(WISH, ORIGIN), "uid-1")


def test_what_signs_an_address_stands_in_the_dataset_alone():
    address = "https://somebody:word@example.org/m.onnx?X-Amz-Signature=key1&b=key2#key3"
    job = training_job(WISH, Origin(address, sha256="1" * 64, given=address, format=ModelFormat.ONNX))
    assert job["spec"]["parameters"]["given"] == "https://example.org/m.onnx"
    job["spec"]["datasets"][0].pop("uri")
    said = f"{job} {config_map(WISH, Origin(address, given=address))}"
    assert not any(key in said for key in ("word", "somebody", "key1", "key2", "key3", "Signature"))


def test_two_models_of_the_same_files_are_two_requests_with_a_place_each():
    names = ["a" * 40, "a" * 41, "b"]
    wishes = [dataclasses.replace(WISH, model=name) for name in names]
    assert len({place_of("bucket", wish, DIGEST) for wish in wishes}) == 3
    assert len({job_name(wish, ORIGIN) for wish in wishes}) == 3
    other = dataclasses.replace(WISH, namespace="team-b")
    assert place_of("bucket", other, DIGEST) != place_of("bucket", WISH, DIGEST)


def test_memory_is_by_the_size_and_where_nobody_knows_it_enough_for_any():
    def limit(wish=WISH, **fields):
        origin = dataclasses.replace(ORIGIN, **fields)
        return training_job(wish, origin)["spec"]["resources"]["limits"]["memory"]

    assert limit(size=0) == "1024Mi"
    assert limit(size=1 << 30) == "3072Mi"
    assert limit(size=None) == limit(size=1 << 40) == "6144Mi"
    assert limit(dataclasses.replace(WISH, memory="8Gi"), size=None) == "8Gi"
