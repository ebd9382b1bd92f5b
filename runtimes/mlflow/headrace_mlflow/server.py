"""MLflow's application behind the gatekeeper, and what has to be done to its databases before it serves.

`mlflow server` is a process that starts another one (about 240 MB each) and offers no place for a middleware; this does
what it does, in one process, for what Headrace uses: basic-auth, no artifact proxy, no jobs. Imported after
`settings.export`, because MLflow reads its environment when it is imported.
"""

import logging
import os

import sqlalchemy
from alembic.util import CommandError
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.exceptions import MlflowException
from mlflow.server import auth
from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from mlflow.server.handlers import initialize_backend_stores
from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine_with_retry
from sqlalchemy.exc import DBAPIError

from headrace_mlflow import database
from headrace_mlflow.gatekeeper import Application, Gatekeeper, UsersUnavailable
from headrace_mlflow.settings import Settings

# Where artifacts of an experiment without a location would go. Headrace gives each experiment its namespace's bucket.
NOWHERE = "s3://headrace-experiment-without-a-location"


def prepare(settings: Settings) -> None:
    """Bring the databases up to date and the administrator's password to what the environment says.

    Raises DatabaseError.
    """
    os.environ[BACKEND_STORE_URI_ENV_VAR] = settings.backend_uri
    os.environ[ARTIFACT_ROOT_ENV_VAR] = NOWHERE
    os.environ[_MLFLOW_SGI_NAME.name] = "uvicorn"
    try:
        _bring_up_to_date(settings)
    except (DBAPIError, CommandError) as error:
        raise database.explain(error) from error


def _bring_up_to_date(settings: Settings) -> None:
    engine = create_sqlalchemy_engine_with_retry(settings.backend_uri)
    try:
        if sqlalchemy.inspect(engine).has_table("alembic_version"):
            _upgrade_db(engine)
    finally:
        engine.dispose()
    initialize_backend_stores(settings.backend_uri, settings.backend_uri, NOWHERE)
    auth.bootstrap_admin_user()
    password = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
    if not auth.store.authenticate_user(settings.admin_username, password):
        auth.store.update_user(settings.admin_username, password=password, is_admin=True)


def application() -> Application:
    """The ASGI application of a worker process; `prepare` ran before, in this process or in its parent."""
    logging.getLogger("mlflow.store.db.utils").addFilter(_without_traceback)
    return Gatekeeper(auth.create_app(), is_administrator)


def is_administrator(username: str, password: str) -> bool | None:
    try:
        user = auth._authenticate_cached(username, password)
    except MlflowException as error:
        raise UsersUnavailable(str(error)) from error
    return bool(user.is_admin) if user else None


def _without_traceback(record: logging.LogRecord) -> bool:
    """MLflow logs a hundred lines for each request that finds the database away; the first says it all."""
    record.exc_info = None
    return True
