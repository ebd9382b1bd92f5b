"""Settings from the environment."""

import configparser

import pytest

from headrace_mlflow.settings import Settings, SettingsError, auth_configuration

NEEDED = {"MLFLOW_AUTH_ADMIN_PASSWORD": "a" * 12, "MLFLOW_FLASK_SERVER_SECRET_KEY": "k"}


def test_the_defaults_are_two_databases_on_one_volume_and_one_process():
    expected = Settings("0.0.0.0", 5000, 1, "sqlite:////data/mlflow.db", "sqlite:////data/basic_auth.db", "admin")
    assert Settings.of(NEEDED) == expected


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": ""}, "MLFLOW_AUTH_ADMIN_PASSWORD not set"),
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": "short"}, "shorter than 12"),
        ({"MLFLOW_PORT": "http"}, "MLFLOW_PORT is 'http', not a number"),
    ],
)
def test_what_will_not_do_is_named(changed, said):
    with pytest.raises(SettingsError, match=said):
        Settings.of(NEEDED | changed)


def test_a_database_uri_with_a_percent_sign_survives_the_ini_file():
    uri = "postgresql://u:p%40ss@db/auth"
    parsed = configparser.ConfigParser()
    parsed.read_string(auth_configuration(Settings.of(NEEDED | {"HEADRACE_MLFLOW_AUTH_URI": uri})))
    assert parsed["mlflow"]["database_uri"] == uri
    assert parsed["mlflow"]["default_permission"] == "NO_PERMISSIONS"
