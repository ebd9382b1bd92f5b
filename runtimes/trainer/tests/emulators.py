"""Google's and Azure's stores as their emulators have them, and a real HDFS of one node, on loopback: what
`scripts/environment clouds` installs.
"""

from __future__ import annotations

import base64
import email.utils
import getpass
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from trainer_support import Server, answers, free_port

INSTALLED = Path(sys.prefix) / "clouds"
_ACCOUNT = "devstoreaccount1"
# The one that each Azurite has, known to everybody.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Google(Server):
    """fake-gcs-server."""

    def __init__(self, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        host = f"127.0.0.1:{port}"
        command = [str(INSTALLED / "bin/fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", "memory", "-external-url", self._url, "-public-host", host]
        health = f"{self._url}/_internal/healthcheck"
        super().__init__(command, dict(os.environ), folder / "google.log", lambda: answers(health))
        key = {"gcs_base_url": self._url, "disable_oauth": True, "client_email": "", "private_key": ""}
        self.environment = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**key, "private_key_id": ""})}
        self.scheme = "gs"

    def bucket(self) -> str:
        name = f"b{time.time_ns()}"
        _send(f"{self._url}/storage/v1/b", "POST", json.dumps({"name": name}).encode(), {})
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": key})
        _send(f"{self._url}/upload/storage/v1/b/{bucket}/o?{query}", "POST", data, {})

    def delete(self, bucket: str, key: str) -> None:
        _send(f"{self._url}/storage/v1/b/{bucket}/o/{urllib.parse.quote(key, safe='')}", "DELETE", None, {})


class Azure(Server):
    """Azurite's blobs."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        command = ["node", str(INSTALLED / "node_modules/azurite/dist/src/blob/main.js"), "--blobHost", "127.0.0.1"]
        command += ["--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        super().__init__(command, dict(os.environ), folder / "azure.log", self._listens)
        self.environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": self._url,
        }
        self.scheme = "az"

    def _listens(self) -> bool:
        return "successfully listens" in self._log.read_text()

    def bucket(self) -> str:
        name = f"b{time.time_ns()}"
        self._send("PUT", name, None, "restype:container")
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._send("PUT", f"{bucket}/{urllib.parse.quote(key)}", data)

    def delete(self, bucket: str, key: str) -> None:
        self._send("DELETE", f"{bucket}/{urllib.parse.quote(key)}", None)

    def _send(self, method: str, path: str, data: bytes | None, query: str = "") -> None:
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        if data is not None:
            headers |= {"x-ms-blob-type": "BlockBlob"}
        content_type = "" if data is None else "application/octet-stream"
        # Method, encoding, language, length, MD5, type, date, four conditions, range.
        lines = [method, "", "", str(len(data)) if data else "", "", content_type, *[""] * 6]
        lines += [f"{name}:{value}" for name, value in sorted(headers.items())]
        text = "\n".join([*lines, f"/{_ACCOUNT}/{_ACCOUNT}/{path}", *([query] if query else [])])
        signature = base64.b64encode(hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()).decode()
        headers |= {"Authorization": f"SharedKey {_ACCOUNT}:{signature}"}
        _send(f"{self._url}/{path}" + ("?" + query.replace(":", "=") if query else ""), method, data, headers)


class Hdfs(Server):
    """A NameNode and a DataNode, in one process, with WebHDFS."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._api, self.uri = f"http://127.0.0.1:{port}/webhdfs/v1", f"webhdfs://127.0.0.1:{port}"
        source = Path(__file__).with_name("OneNodeHdfs.java")
        command = ["java", "-Xmx512m", "-cp", str(INSTALLED / "hdfs" / "*"), str(source)]
        log = folder / "hdfs.log"
        super().__init__(
            [*command, str(folder / "hdfs"), str(port)], dict(os.environ), log, lambda: "HDFS is up" in log.read_text()
        )

    def put(self, path: str, data: bytes, mode: str = "644") -> None:
        with urllib.request.urlopen(
            urllib.request.Request(self._address(path, "CREATE", overwrite="true", noredirect="true"), method="PUT")
        ) as answer:
            place = urllib.parse.urlsplit(json.load(answer)["Location"])
        quoted = urllib.parse.urlsplit(self._address(path, "CREATE")).path  # as it is told, letters are not
        _send(place._replace(path=quoted).geturl(), "PUT", data, {})
        _send(self._address(path, "SETPERMISSION", permission=mode), "PUT", None, {})

    def make_folder(self, path: str, mode: str) -> None:
        _send(self._address(path, "MKDIRS", permission=mode), "PUT", None, {})

    def rename(self, path: str, to: str) -> None:
        _send(self._address(path, "RENAME", destination=f"/{to}"), "PUT", None, {})

    def delete(self, path: str) -> None:
        _send(self._address(path, "DELETE", recursive="true"), "DELETE", None, {})

    def _address(self, path: str, operation: str, **arguments: str) -> str:
        query = urllib.parse.urlencode({"op": operation, "user.name": getpass.getuser(), **arguments})
        return f"{self._api}/{urllib.parse.quote(path)}?{query}"


def _send(url: str, method: str, data: bytes | None, headers: dict[str, str]) -> None:
    kind = {} if data is None else {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(url, data, {**kind, **headers}, method=method), timeout=20).close()
