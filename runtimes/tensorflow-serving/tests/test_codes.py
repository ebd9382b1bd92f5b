"""The statuses are those of gRPC, and each has one in HTTP."""

from __future__ import annotations

import grpc
import pytest

from headrace_tensorflow_serving.codes import Code, from_number


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_numbers_are_those_of_grpc(status):
    assert from_number(status.value[0]).name == status.name


@pytest.mark.parametrize("code", Code)
def test_what_is_not_ok_is_an_error_in_http(code):
    assert (code.http_status == 200) == (code is Code.OK)
    assert code.http_status in (200, *range(400, 600))


def test_an_unknown_number_is_unknown():
    assert from_number(99) is Code.UNKNOWN
