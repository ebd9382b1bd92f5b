"""The process: how it ends is told through its pipe, and no words of an error that nobody has foreseen."""

from __future__ import annotations

import json
import os

import pytest
from table_support import KEY

from headrace_trainer.tables import __main__ as process
from headrace_trainer.tables import run


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Runs the process on a file with one row; gives its exit code and its messages."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("x,mail\n1,ann@example.com\n")

    def ask(**tables):
        told = {"dataset": str(tmp_path / "raw"), "name": "raw", "target": str(tmp_path / "made")}
        told["tables"] = {"dataset": "raw", **tables}
        read, write = os.pipe()
        for name, value in (("TABLES", json.dumps(told)), ("MASKING_KEY", KEY.decode()), ("CHILD_FD", str(write))):
            monkeypatch.setenv(f"HEADRACE_{name}", value)
        code = process.main()
        os.close(write)
        with os.fdopen(read) as pipe:
            return code, [json.loads(line) for line in pipe]

    return ask


def test_a_warning_and_a_refusal_are_messages(asked):
    code, [warning] = asked(privacy={"detect": "Report"})
    assert (code, warning["type"], warning["subject"]) == (0, "warning", "privacy")
    code, [refusal] = asked(privacy={"detect": "Refuse"})
    assert (code, refusal["type"], refusal["reason"]) == (2, "refused", "PrivateDataFound")
    assert refusal["hint"]


def test_the_words_of_an_error_that_nobody_has_foreseen_are_not_told(asked, monkeypatch, capfd):
    def fail(*_):
        raise ValueError("could not convert ann@example.com")

    monkeypatch.setattr(run, "read", fail)
    assert asked() == (70, [])
    told = capfd.readouterr().err
    assert "ValueError (its words are not shown)" in told
    assert "in fail" in told
    assert "ann@" not in told.replace('could not convert ann@example.com")', "")


def test_a_package_that_the_image_lacks_is_named(asked, monkeypatch):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(run, "read", fail)
    code, [refusal] = asked()
    assert (code, refusal["reason"], refusal["message"]) == (2, "PackageMissing", "the image has no pyarrow")
    assert "phonenumberslite" in refusal["hint"]
