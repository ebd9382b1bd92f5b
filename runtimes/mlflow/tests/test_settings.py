"""Settings from the environment."""

import configparser

import pytest
from sqlalchemy import make_url

from headrace_mlflow.settings import Settings, SettingsError, auth_configuration

NEEDED = {"MLFLOW_AUTH_ADMIN_PASSWORD": "a" * 12, "MLFLOW_FLASK_SERVER_SECRET_KEY": "k"}


def test_the_defaults_are_two_databases_on_one_volume_and_one_process():
    expected = Settings("0.0.0.0", 5000, 1, "sqlite:////data/mlflow.db", "sqlite:////data/basic_auth.db", 60, "admin")
    assert Settings.of(NEEDED) == expected


def test_a_database_holds_users_and_grants_too_unless_they_have_one_of_their_own():
    given = NEEDED | {"MLFLOW_BACKEND_STORE_URI": "postgresql://u:p@db/mlflow"}
    settings = Settings.of(given)
    assert settings.auth_uri == settings.backend_uri
    assert settings.backend_uri.startswith("postgresql+psycopg2://u:p@db/mlflow?")
    settings = Settings.of(given | {"HEADRACE_MLFLOW_AUTH_URI": "postgresql://u:p@db/users"})
    assert settings.auth_uri.startswith("postgresql+psycopg2://u:p@db/users?")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": ""}, "MLFLOW_AUTH_ADMIN_PASSWORD not set"),
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": "short"}, "shorter than 12"),
        ({"MLFLOW_PORT": "http"}, "MLFLOW_PORT is 'http', not a number"),
        ({"MLFLOW_BACKEND_STORE_URI": "mysql://u:p@db/mlflow"}, "MLFLOW_BACKEND_STORE_URI begins with mysql://"),
    ],
)
def test_what_will_not_do_is_named(changed, said):
    with pytest.raises(SettingsError, match=said):
        Settings.of(NEEDED | changed)


def test_a_database_uri_with_a_percent_sign_survives_the_ini_file():
    uri = "postgresql://u:p%40ss@db/auth"
    parsed = configparser.ConfigParser()
    parsed.read_string(auth_configuration(Settings.of(NEEDED | {"HEADRACE_MLFLOW_AUTH_URI": uri})))
    assert make_url(parsed["mlflow"]["database_uri"]).password == "p@ss"
    assert parsed["mlflow"]["default_permission"] == "NO_PERMISSIONS"
