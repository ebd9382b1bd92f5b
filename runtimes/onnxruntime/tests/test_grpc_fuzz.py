"""Whatever is in a message, the answer is OK or the client's fault, and the next request is answered."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_requests import CONTENTS, INFER, rows
from hypothesis import given
from hypothesis import strategies as st
from serving_fuzz import examples
from serving_support import PATIENCE_SECONDS
from tritonclient.grpc import service_pb2

SETTINGS = examples(150)
GOOD = rows([1, 2, 3, 4]).SerializeToString()
CLIENTS_FAULT = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}

ints = st.integers(-(2**31), 2**31 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool_contents": st.booleans(),
    "int_contents": ints | st.integers(-3, 60),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=5),
}
parameters = st.dictionaries(
    texts,
    st.one_of(
        st.builds(service_pb2.InferParameter, bool_param=st.booleans()),
        st.builds(service_pb2.InferParameter, int64_param=ints),
        st.builds(service_pb2.InferParameter, string_param=texts),
        st.just(service_pb2.InferParameter()),
    ),
    max_size=2,
)


def contents(field: str) -> st.SearchStrategy[Any]:
    """Mostly of one field, as it should be."""
    own = st.fixed_dictionaries({field: st.lists(VALUES[field], max_size=9)})
    any_of_them = st.fixed_dictionaries(
        {}, optional={name: st.lists(values, max_size=3) for name, values in VALUES.items()}
    )
    return (own | own | any_of_them).map(lambda fields: service_pb2.InferTensorContents(**fields))


def messages(name: str, datatype: str, output: str) -> st.SearchStrategy[Any]:
    def with_parameters(message: Any, given: dict[str, Any]) -> Any:
        for key, value in given.items():
            message.parameters[key].CopyFrom(value)
        return message

    tensor = st.builds(
        service_pb2.ModelInferRequest.InferInputTensor,
        name=st.just(name) | texts,
        datatype=st.sampled_from([datatype, datatype, "INT64", "BYTES"]) | texts,
        shape=st.lists(st.integers(-1, 5) | st.integers(-(2**63), 2**63 - 1), max_size=3),
        contents=contents(CONTENTS[datatype]),
    )
    request = st.builds(
        service_pb2.ModelInferRequest,
        model_name=st.sampled_from(["m", "m", "m", "other", ""]),
        model_version=st.sampled_from(["", "7", "8"]),
        id=texts,
        inputs=st.lists(st.builds(with_parameters, tensor, parameters), max_size=3),
        outputs=st.lists(
            st.builds(service_pb2.ModelInferRequest.InferRequestedOutputTensor, name=st.just(output) | texts),
            max_size=2,
        ),
        raw_input_contents=st.just([]) | st.lists(st.binary(max_size=40), max_size=3),
    )
    return st.builds(with_parameters, request, parameters)


def code_of(server: Any, message: bytes) -> grpc.StatusCode:
    method = server.channel.unary_unary(INFER)
    call = method.future(message, timeout=PATIENCE_SECONDS)
    return call.code()


def assert_answered(server: Any, message: bytes) -> None:
    assert code_of(server, message) in CLIENTS_FAULT


@SETTINGS
@given(message=messages("x", "FP32", "y"))
def test_a_made_up_message_of_numbers_is_never_a_server_error(affine_server, message):
    assert_answered(affine_server, message.SerializeToString())


@SETTINGS
@given(message=messages("tokens", "INT32", "probabilities"))
def test_a_made_up_message_of_tokens_is_never_a_server_error(tokens_server, message):
    assert_answered(tokens_server, message.SerializeToString())


@SETTINGS
@given(message=st.binary(max_size=200))
def test_any_bytes_are_never_a_server_error(affine_server, message):
    assert_answered(affine_server, message)


@SETTINGS
@given(place=st.integers(0, len(GOOD) - 1), replaced=st.binary(max_size=3), cut=st.booleans())
def test_a_broken_message_is_never_a_server_error(affine_server, place, replaced, cut):
    assert_answered(affine_server, GOOD[:place] + replaced + (b"" if cut else GOOD[place + len(replaced) :]))


def test_after_all_of_them_a_good_one_is_answered(affine_server):
    assert code_of(affine_server, GOOD) is grpc.StatusCode.OK
    assert affine_server.process.poll() is None
    failures = [value for name, value in affine_server.metrics().items() if 'requests_total{code="5' in name]
    assert sum(failures) == 0
