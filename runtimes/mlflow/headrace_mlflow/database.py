"""The databases' URIs, and a database before MLflow has to do with it: that it answers, and what to do when not.

MLflow would try a database for two minutes, end in a traceback, and print a URI that it does not understand with the
password in it.
"""

import time

import sqlalchemy
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"

# The names that people write, and the driver that the image has: without one SQLAlchemy takes another.
_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "postgresql+psycopg2": "postgresql+psycopg2",
    "sqlite": "sqlite",
}
# Without these a server that is gone without a word (its node lost, its packets dropped) holds a thread for a quarter
# of an hour. tcp_user_timeout is in milliseconds.
_PATIENCE = {"connect_timeout": "5", "tcp_user_timeout": "30000"}
_RETRY_SECONDS = 1.0
_INSUFFICIENT_PRIVILEGE = "42501"


class DatabaseError(Exception):
    """A database cannot be used; the message says why and what to do, and holds no password."""


def complete(uri: str) -> str:
    """The URI as MLflow is to have it: with the driver and with time limits. Raises DatabaseError."""
    try:
        url = sqlalchemy.make_url(uri.strip())
    except (ArgumentError, ValueError):
        raise DatabaseError(f"is not a database's URI, which is {FORM}") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise DatabaseError(f"begins with {url.drivername}://, for which there is no driver here: use {FORM}")
    if driver == "sqlite":
        return url.render_as_string(hide_password=False)
    if "@" in f"{url.host}{url.database}":
        # What stands before that @ is a part of the password, and host and database are shown.
        raise DatabaseError("has a second @: in a user name and a password write @ as %40, / as %2F, % as %25")
    if not url.database:
        raise DatabaseError(f"names no database: {FORM}")
    url = url.set(drivername=driver).update_query_dict({**_PATIENCE, **url.query})
    return url.render_as_string(hide_password=False)


def wait(uri: str, seconds: float) -> None:
    """Returns once the database lets its user in; DatabaseError when it has not after so long."""
    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "sqlite":
        return
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    where = f"database {url.database}" + (f" at {url.host}" if url.host else "")
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            engine.connect().close()
        except OperationalError as error:
            reason = _one_line(error)
        except DBAPIError as error:
            raise DatabaseError(f"{where}: {_one_line(error)}") from None
        else:
            return
        if time.monotonic() >= deadline:
            raise DatabaseError(
                f"{where}: no connection within {seconds:g} s: {reason}. MLFLOW_BACKEND_STORE_URI (with the chart: the "
                "Secret in mlflow.backendStore) has to name a server that this pod reaches, a database that is there "
                "and a user that may log in"
            )
        if reason != said:
            print(f"waiting for {where}: {reason}", flush=True)
            said = reason
        time.sleep(_RETRY_SECONDS)


def explain(error: Exception) -> DatabaseError:
    """What MLflow's preparation of its tables failed of."""
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "pgcode", None) == _INSUFFICIENT_PRIVILEGE:
            return DatabaseError(
                f"the database's user may not make MLflow's tables: {_one_line(error)}: make it the owner of the "
                "database, or GRANT USAGE, CREATE ON SCHEMA public to it"
            )
        return DatabaseError(f"MLflow's tables cannot be made or brought up to date: {_one_line(error)}")
    return DatabaseError(
        f"the database's tables are not those of this MLflow: {error}: another program's or a newer MLflow's? Name a "
        "database of its own, or run the image that used it last"
    )


def _one_line(error: DBAPIError) -> str:
    """What the driver said, without SQLAlchemy's additions; a server shows the statement from the second line on."""
    said = str(error.orig).split("\nLINE ")[0]
    return " ".join(said.split())
