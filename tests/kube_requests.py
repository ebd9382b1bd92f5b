"""Plain requests as a cluster administrator, for what a test asks again and again: kubectl costs a hundred times it."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3
import yaml

from headrace_local.errors import LocalClusterError

Object = dict[str, Any]


TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Api:
    """For several threads; its connections stay open, since a handshake costs more than a request."""

    url: str
    http: urllib3.PoolManager

    @staticmethod
    def of(kubeconfig: Path) -> Api:
        """As its first user, whose certificate it has in it."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:  # only a file can be loaded
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]))
            pair.flush()
            context.load_cert_chain(pair.name)
        return Api(cluster["server"], urllib3.PoolManager(ssl_context=context, timeout=TIMEOUT_SECONDS))

    def ask(self, path: str, body: Object | None = None) -> Object:
        """What the API server answers: an object, or the Status of a refusal."""
        method = "GET" if body is None else "POST"
        result: Object = self.http.request(method, f"{self.url}{path}", json=body).json()
        return result

    def get(self, path: str) -> Object:
        """An object; raises LocalClusterError with what the API server says instead, as kubectl would."""
        try:
            found = self.ask(path)
        except urllib3.exceptions.HTTPError as error:
            raise LocalClusterError(f"GET {path}: {error}") from error
        if found["kind"] == "Status":
            raise LocalClusterError(f"GET {path}: {found['message']}")
        return found

    def apply(self, namespace: str, manifest: Object) -> None:
        """As `kubectl apply --server-side --force-conflicts`; raises LocalClusterError with its message."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        path = f"{_collection(manifest, namespace)}/{name}?fieldManager=kubectl&force=true&fieldValidation=Strict"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        try:
            answer = self.http.request("PATCH", f"{self.url}{path}", body=json.dumps(manifest), headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise LocalClusterError(f"apply of {kind} {name}: {error}") from error
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise LocalClusterError(f"apply of {kind} {name}: {answer.json()['message']}")

    def try_to_create(self, manifest: Object) -> Object:
        """Create it without keeping it; what the API server answers: the object, or the Status of a refusal."""
        collection = _collection(manifest, manifest["metadata"]["namespace"])
        return self.ask(f"{collection}?dryRun=All&fieldValidation=Strict", manifest)

    def refusal(self, manifest: Object) -> str:
        """The message that the API server refuses an object with."""
        answer = self.try_to_create(manifest)
        assert answer["kind"] == "Status", f"the API server accepted {json.dumps(manifest)}"
        message: str = answer["message"]
        return message


def _collection(manifest: Object, namespace: str) -> str:
    """The path of all objects of its kind; kinds whose plural is more than an s are not among those of tests."""
    version = manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{manifest['kind'].lower()}s"
