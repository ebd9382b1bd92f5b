"""What an answer of S3 means, and how places are written."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from headrace_common.s3 import Meaning, Place, is_uri, meaning_of


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (404, "NoSuchBucket", Meaning.NO_BUCKET),
        (404, "NoSuchKey", Meaning.NO_OBJECT),
        (404, "404", Meaning.NO_OBJECT),  # the answer to HEAD has no body
        (403, "AccessDenied", Meaning.REFUSED),
        (301, "PermanentRedirect", Meaning.REFUSED),
        (404, "NoSuchUpload", Meaning.REFUSED),
        (400, "RequestTimeout", Meaning.TRY_AGAIN),
        (403, "RequestTimeTooSkewed", Meaning.TRY_AGAIN),
        (429, "", Meaning.TRY_AGAIN),
        (503, "SlowDown", Meaning.TRY_AGAIN),
        (500, "InternalError", Meaning.TRY_AGAIN),
    ],
)
def test_an_error_is_final_or_worth_another_try(status, code, meaning):
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert meaning_of(ClientError(answer, "GetObject")) is meaning


def test_a_place_is_a_bucket_and_a_key():
    place = Place.parse("s3://team-a/runs/7")
    assert (place, place.below("onnx/model.onnx").key) == (Place("team-a", "runs/7"), "runs/7/onnx/model.onnx")
    assert [str(place), str(Place("team-a", "").below("x"))] == ["s3://team-a/runs/7", "s3://team-a/x"]
    assert [is_uri(text) for text in ("s3://team-a", "s3://", "gs://team-a/x")] == [True, False, False]
