"""The digest of what the loader has left."""

from __future__ import annotations

from headrace_serving import manifest


def test_the_digest_is_the_manifests_sum_and_empty_without_one(tmp_path):
    assert manifest.digest(tmp_path) == ""
    (tmp_path / "manifest.json").write_bytes(b"{}")
    assert manifest.digest(tmp_path) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
