"""What a failed start leaves, and what a client is told."""

from __future__ import annotations

import json

import pytest

from headrace_serving.failures import CLASS_OF, Reason, RequestError, StartError


@pytest.mark.parametrize("reason", Reason)
def test_a_failed_start_leaves_its_class_and_reason(tmp_path, reason):
    file = tmp_path / "termination-log"

    StartError(reason, "what is wrong", "what to do").write_termination_message(file, "sha256:abc")

    assert json.loads(file.read_bytes()) == {
        "protocol": 1,
        "outcome": "Failed",
        "class": CLASS_OF[reason],
        "reason": reason.value,
        "message": "what is wrong",
        "hint": "what to do",
        "digest": "sha256:abc",
    }


def test_an_endless_message_is_cut_and_a_digest_that_is_not_known_is_null(tmp_path):
    file = tmp_path / "termination-log"

    StartError(Reason.MODEL_CORRUPT, "x" * 10_000, "").write_termination_message(file, "")

    record = json.loads(file.read_bytes())
    assert (record["message"], record["digest"]) == ("x" * 500, None)


@pytest.mark.parametrize("character", ["é", "\N{PILE OF POO}", "\x00", "\udcff", '"'])
def test_whatever_the_message_is_made_of_the_record_is_short_and_whole(tmp_path, character):
    file = tmp_path / "termination-log"

    StartError(Reason.MODEL_CORRUPT, character * 600, "a hint").write_termination_message(file, "sha256:" + "a" * 64)

    text = file.read_bytes()
    assert len(text) <= 2000
    assert json.loads(text)["hint"] == "a hint"
    assert len(json.loads(text)["message"]) >= 100


def test_a_message_that_cannot_be_written_is_no_second_failure(tmp_path, caplog):
    StartError(Reason.BAD_CONFIG, "", "").write_termination_message(tmp_path / "no" / "folder", "")
    assert "cannot write the termination message" in caplog.text


def test_a_client_is_told_at_most_500_characters():
    assert RequestError(400, "x" * 500).message == "x" * 500
    assert RequestError(400, "x" * 501).message == "x" * 500 + "…"
