"""Entry point of the image: `python -m headrace_mlflow`. Settings come from the environment, see `settings`."""

import os
import sys

from headrace_mlflow import database
from headrace_mlflow.settings import Settings, SettingsError, export

GRACE_SECONDS = 10


def main() -> int:
    try:
        settings = Settings.of(os.environ)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    export(settings)
    try:
        for uri in {settings.backend_uri, settings.auth_uri}:
            database.wait(uri, settings.database_seconds)
        return _serve(settings)
    except database.DatabaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _serve(settings: Settings) -> int:
    # Not before: MLflow reads its environment when it is imported.
    import uvicorn

    from headrace_mlflow.server import prepare

    prepare(settings)
    uvicorn.run(
        "headrace_mlflow.server:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Probes and the operator's polling would fill the log.
        access_log=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
