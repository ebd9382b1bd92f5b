"""Databases' URIs as people write them. A real Postgres is in tests/integration/platform."""

import pytest
from sqlalchemy import make_url

from headrace_mlflow import database
from headrace_mlflow.database import DatabaseError

SECRET = "hunter2"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_postgres_gets_the_driver_that_the_image_has_and_time_limits(scheme):
    url = make_url(database.complete(f"{scheme}://u:{SECRET}@db:5433/mlflow"))
    assert url.get_driver_name() == "psycopg2"
    assert (url.username, url.password, url.host, url.port, url.database) == ("u", SECRET, "db", 5433, "mlflow")
    assert url.query == {"connect_timeout": "5", "tcp_user_timeout": "30000"}


def test_what_the_uri_says_itself_is_kept():
    url = make_url(database.complete(f"postgresql://u:{SECRET}@db/mlflow?sslmode=verify-full&connect_timeout=60"))
    assert url.query == {"sslmode": "verify-full", "connect_timeout": "60", "tcp_user_timeout": "30000"}


def test_a_password_that_is_written_with_percent_signs_stays_what_it_is():
    url = make_url(database.complete("postgresql://u:%25%40%3A%2F%3F%23%2B%20%27@db/mlflow\n"))
    assert url.password == "%@:/?#+ '"


def test_sqlite_stays_as_it_is():
    assert database.complete("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (f"u:{SECRET}@db/mlflow", "is not a database's URI"),
        (f"postgresql://u:{SECRET}@db:port/mlflow", "is not a database's URI"),
        (f"mysql+pymysql://u:{SECRET}@db/mlflow", r"begins with mysql\+pymysql://"),
        (f"postgresql+asyncpg://u:{SECRET}@db/mlflow", r"begins with postgresql\+asyncpg://"),
        (f"https://u:{SECRET}@db/mlflow", "begins with https://"),
        (f"postgresql://u:p@{SECRET}@db/mlflow", "write @ as %40"),
        (f"postgresql://u:p@{SECRET}/p@db/mlflow", "write @ as %40"),
        (f"postgresql://u:{SECRET}@db", "names no database"),
        (f"postgresql://u:{SECRET}@db/", "names no database"),
    ],
)
def test_what_will_not_do_is_said_without_the_password(uri, said):
    with pytest.raises(DatabaseError, match=said) as refused:
        database.complete(uri)
    assert SECRET not in str(refused.value)
    assert "postgresql://USER:PASSWORD@HOST" in str(refused.value) or "%40" in str(refused.value)


def test_an_option_that_the_driver_does_not_know_is_no_reason_to_wait():
    with pytest.raises(DatabaseError, match='invalid connection option "colour"'):
        database.wait(database.complete(f"postgresql://u:{SECRET}@127.0.0.1:1/mlflow?colour=blue"), seconds=60)
