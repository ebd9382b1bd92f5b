"""Certificates are checked by the part that has to accept them: a TLS server that asks for the client's."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from headrace_local.certificates import Authority, KeyPair, Subject


def _handshake(authority: Authority, server: KeyPair, client: KeyPair, name: str) -> dict[str, list[str]]:
    """Connect over TLS; returns the client's subject as the server sees it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.files.certificate))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    seen: dict[str, list[str]] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            # A client that refuses says so to itself: that is where the test looks.
            with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as tls:
                encoded = tls.getpeercert(binary_form=True)
                assert encoded is not None
                for attribute in x509.load_der_x509_certificate(encoded).subject:
                    seen.setdefault(attribute.rfc4514_attribute_name, []).append(str(attribute.value))
                tls.sendall(b"ok")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ours = ssl.create_default_context(cafile=str(authority.files.certificate))
        ours.load_cert_chain(client.certificate, client.key)
        with (
            socket.create_connection(listener.getsockname(), timeout=5) as plain,
            ours.wrap_socket(plain, server_hostname=name) as tls,
        ):
            assert tls.recv(2) == b"ok"
        thread.join(timeout=5)
    return seen


def test_a_server_knows_the_user_and_all_groups(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", Subject("server", dns_names=("localhost",), addresses=("127.0.0.1",)))
    client = authority.issue("client", Subject("jane", groups=("developers", "testers")))

    seen = _handshake(authority, server, client, "127.0.0.1")

    assert seen == {"O": ["developers", "testers"], "CN": ["jane"]}


def test_a_name_that_is_not_in_the_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", Subject("server", dns_names=("localhost",)))
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority, server, server, "example.com")


def test_another_call_finds_the_same_authority_and_certificates(tmp_path: Path) -> None:
    first = Authority(tmp_path).issue("client", Subject("jane")).certificate.read_bytes()
    assert Authority(tmp_path).issue("client", Subject("jane")).certificate.read_bytes() == first


def test_keys_and_kubeconfigs_are_for_their_owner_only(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("client", Subject("jane"))
    assert pair.key.stat().st_mode & 0o077 == 0


def test_a_kubeconfig_holds_all_that_is_needed_and_no_paths(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    text = authority.kubeconfig("https://127.0.0.1:1", "jane", authority.issue("client", Subject("jane")))
    certificate = base64.b64decode(json.loads(text)["users"][0]["user"]["client-certificate-data"])
    assert x509.load_pem_x509_certificate(certificate).subject.rfc4514_string() == "CN=jane"
    assert str(tmp_path) not in text
