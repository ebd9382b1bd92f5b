"""The watches' thread ends with them, whatever kopf is in the middle of."""

import asyncio
import gc
import socket
import threading
import time

from headrace.kube.credentials import Credentials
from headrace.kube.resources import CONFIGMAPS
from headrace.kube.shell import Shell, Watch

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%d'}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def kopf_threads():
    return [thread for thread in threading.enumerate() if thread.name == "kopf"]


def test_no_thread_goes_on_when_the_watches_end_while_kopf_waits_for_an_api_server_that_is_gone(tmp_path, caplog):
    with socket.socket() as nobody:  # bound and not listening: a connection is refused
        nobody.bind(("127.0.0.1", 0))
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG % nobody.getsockname()[1])

        async def main():
            shell = Shell(await Credentials.load(kubeconfig), [Watch(CONFIGMAPS)], lambda *_: None)
            running = asyncio.create_task(shell.run())
            while "attempt #3/25 failed" not in caplog.text:  # the next one is two seconds later
                await asyncio.sleep(0.05)
            running.cancel()
            began = time.monotonic()
            await asyncio.wait([running])
            assert time.monotonic() - began < 30
            assert not kopf_threads()

        asyncio.run(asyncio.wait_for(main(), 120))
    gc.collect()
    assert "Unclosed" not in caplog.text, "kopf's connections are closed"
