"""The statuses are those of gRPC, and each has one in HTTP."""

from __future__ import annotations

import grpc
import pytest

from headrace_serving.failures import RequestError
from headrace_tensorflow_serving.codes import Code, from_number
from headrace_tensorflow_serving.failures import CodedError, code_of


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_numbers_are_those_of_grpc(status):
    assert from_number(status.value[0]).name == status.name


@pytest.mark.parametrize("code", Code)
def test_what_is_not_ok_is_an_error_in_http(code):
    assert (code.http_status == 200) == (code is Code.OK)
    assert code.http_status in (200, *range(400, 600))


def test_an_unknown_number_is_unknown():
    assert from_number(99) is Code.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INVALID_ARGUMENT),
        (405, Code.INVALID_ARGUMENT),
        (408, Code.CANCELLED),
        (413, Code.INVALID_ARGUMENT),
        (415, Code.INVALID_ARGUMENT),
        (499, Code.CANCELLED),
        (503, Code.UNAVAILABLE),
    ],
)
def test_what_is_refused_by_a_status_of_http_has_a_code_too(status, code):
    error = RequestError(status, "")
    assert (code_of(error), error.status) == (code, status)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_an_error_with_a_code_keeps_it(code):
    error = CodedError(code, "")
    assert (code_of(error), error.status) == (code, code.http_status)
