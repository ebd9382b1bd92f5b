"""A run's page in MLflow, as a browser shows it to a person.

HEADRACE_SCREENSHOT=PATH keeps the picture: that is how docs/images/mlflow-run.png is made.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import struct
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from platform_under_test import SYSTEM, Object, Platform, Tenant

SCRIPT = """
import numpy as np, keras
keras.utils.set_random_seed(1)
x = np.random.RandomState(0).rand(640, 8).astype("float32")
y = (x.sum(1) > 4).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=5, validation_split=0.2, verbose=2)
"""
SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")
WINDOW = (1280, 880)
PNG = b"\x89PNG\r\n\x1a\n"
# MLflow's page opens an assistant beside itself the first time; this browser has been there before.
START = """<script>
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
location.replace("/" + location.hash);
</script>"""
INSTALL_SECONDS, BROWSE_SECONDS = 600, 120
PAGE_MILLISECONDS = 20_000  # of the page's own clock, which stands still while it waits for an answer


def chromium() -> str:
    """The browser; installed where tests may install programs. Without it there is no test, and that is said."""
    may_install = os.environ.get("HEADRACE_E2E_INSTALL") == "1" or "CI" in os.environ
    if shutil.which("chromium") is None and may_install:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            done = subprocess.run(
                ["apt-get", "--quiet", *words], capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment
            )
            assert done.returncode == 0, f"`apt-get {' '.join(words)}` failed:\n{done.stderr}"
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("the program chromium is missing: apt-get install chromium, or HEADRACE_E2E_INSTALL=1 to let me")
    return found


# --- a login without a dialog ----------------------------------------------------------------------------------------


@contextmanager
def logged_in(url: str, username: str, password: str) -> Iterator[str]:
    """A loopback URL that leads to `url` with these credentials; a first visit begins at /start#PLACE.

    A URL with user:password@ opens the page but not its data: a page from such a URL may not fetch relative ones.
    """
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/start":
                self._answer(200, "text/html", START.encode())
            else:
                self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _pass_on(self, body: bytes | None) -> None:
            headers = {"Authorization": f"Basic {token}", "Content-Type": self.headers.get("Content-Type", "")}
            try:
                with opener.open(urllib.request.Request(url + self.path, body, headers), timeout=30) as answer:
                    status, kind, text = answer.status, answer.headers.get("Content-Type", ""), answer.read()
            except urllib.error.HTTPError as error:
                status, kind, text = error.code, error.headers.get("Content-Type", ""), error.read()
            self._answer(status, kind, text)

        def _answer(self, status: int, kind: str, text: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest shows what failed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- the browser -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """What the browser made of a URL."""

    dom: str
    picture: Path


def browse(url: str, folder: Path) -> Page:
    """Open a URL in a browser that knows nothing and leaves nothing, neither files outside `folder` nor processes."""
    picture = folder / "page.png"
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--no-first-run", "--disable-background-networking", "--disable-breakpad", "--no-proxy-server",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={WINDOW[0]},{WINDOW[1]}",
        f"--virtual-time-budget={PAGE_MILLISECONDS}", "--dump-dom", f"--screenshot={picture}", url,
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "stderr").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True)
        try:
            dom, _ = process.communicate(timeout=BROWSE_SECONDS)
        finally:
            end_session(process)
    assert process.returncode == 0, (folder / "stderr").read_text(errors="replace")
    return Page(dom.decode(), picture)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """The browser's processes are a session of their own: whichever still run are ended."""
    for pid in members_of_session(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(10)


def members_of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tenant: Tenant) -> Object:
    """A run in MLflow that a TrainingJob made."""
    tenant.script("ui-run", SCRIPT)
    tenant.train(
        "ui-run",
        storage={"secretRef": {"name": "headrace-storage"}},
        tracking={"experiment": "ui"},
        parameters={"epochs": 5, "learning_rate": 0.01},
    )
    status = tenant.finished("ui-run")
    assert status["state"] == "Succeeded", status
    found: Object = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    return found


@pytest.fixture(scope="module")
def page(platform: Platform, tenant: Tenant, run: Object, tmp_path_factory: pytest.TempPathFactory) -> Page:
    administrator = Tenant(platform, SYSTEM).secret("headrace-mlflow")
    with logged_in(platform.mlflow, administrator["username"], administrator["password"]) as url:
        address = f"{url}/start#/experiments/{run['info']['experiment_id']}/runs/{run['info']['run_id']}"
        return browse(address, tmp_path_factory.mktemp("chromium"))


def test_the_page_of_a_run_shows_its_name_and_every_metric_with_its_value(page, run):
    values = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}

    assert "ui-run" in page.dom
    for name in SHOWN:
        assert f">{name}<" in page.dom, name
        assert str(values[name]) in page.dom, f"{name} = {values[name]}"


def test_a_picture_of_the_page_can_be_kept(page):
    picture = page.picture.read_bytes()

    assert picture.startswith(PNG)
    assert struct.unpack(">II", picture[16:24]) == WINDOW
    if kept := os.environ.get("HEADRACE_SCREENSHOT"):
        shutil.copyfile(page.picture, kept)


def test_the_browser_leaves_no_process_behind(page):
    profile = str(page.picture.parent)
    left = [
        entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and profile in command_line_of(entry)
    ]

    assert left == []


def command_line_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""
