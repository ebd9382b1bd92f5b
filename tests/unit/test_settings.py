"""What the operator makes of its environment variables."""

import pytest

from headrace.settings import Settings, SettingsError

NEEDED = {"HEADRACE_OPERATOR_NAMESPACE": "headrace-system", "HEADRACE_TRAINER_IMAGE": "trainer:1"}


@pytest.mark.parametrize(
    "name", ["HEADRACE_MLFLOW_URL", "HEADRACE_MLFLOW_PUBLIC_URL", "HEADRACE_S3_ENDPOINT", "HEADRACE_PACKAGE_INDEX_URL"]
)
def test_a_url_with_credentials_is_refused_without_repeating_them(name):
    with pytest.raises(SettingsError, match=name) as refused:
        Settings.from_environment(NEEDED | {name: "https://admin:secret@mlflow.example.com"})

    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize(("value", "is_taken"), [("true", True), ("false", False), ("", False), ("yes", False)])
def test_an_approval_counts_only_where_somebody_says_that_a_policy_is_there(value, is_taken):
    assert Settings.from_environment(NEEDED | {"HEADRACE_APPROVALS_ENFORCED": value}).approvals_enforced is is_taken
    assert not Settings.from_environment(NEEDED).approvals_enforced


def test_labels_of_clients_are_read_and_what_is_no_label_is_refused():
    assert Settings.from_environment(NEEDED | {"HEADRACE_MODEL_CLIENTS": "a/b=c, d="}).model_clients == {
        "a/b": "c",
        "d": "",
    }
    with pytest.raises(SettingsError, match="HEADRACE_MODEL_CLIENTS"):
        Settings.from_environment(NEEDED | {"HEADRACE_MODEL_CLIENTS": "c"})
