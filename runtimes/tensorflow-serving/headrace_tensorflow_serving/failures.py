"""The errors of requests that have a status of TensorFlow's and gRPC's, by which the metrics count them too.

What headrace_serving raises has one of HTTP only; `code_of` finds the other.
"""

from __future__ import annotations

from headrace_serving.failures import CLIENT_CLOSED, RequestError
from headrace_tensorflow_serving.codes import Code

_CODE_OF_HTTP_STATUS = {
    400: Code.INVALID_ARGUMENT,
    405: Code.INVALID_ARGUMENT,
    408: Code.CANCELLED,
    413: Code.INVALID_ARGUMENT,
    415: Code.INVALID_ARGUMENT,
    CLIENT_CLOSED: Code.CANCELLED,
    503: Code.UNAVAILABLE,
}


class CodedError(RequestError):
    """A request that gets an error for an answer: `code` is its status, and gives that of HTTP too."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code.http_status, message)
        self.code = code


class OtherModelError(CodedError):
    """The request is for a model that is not served here, and so counts for none."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


def code_of(error: RequestError) -> Code:
    return error.code if isinstance(error, CodedError) else _CODE_OF_HTTP_STATUS[error.status]
