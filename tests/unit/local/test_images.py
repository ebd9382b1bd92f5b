"""What a build is given: this machine's CA and package index as secrets, and each image's own context."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace_local import images
from headrace_local.binaries import Binaries
from headrace_local.images import Secrets

# pip's own way to say: no configuration file.
NOTHING = {"PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text("a certificate")
    return file


def test_a_machine_without_configuration_gives_no_secrets() -> None:
    assert Secrets.of_host(NOTHING) == Secrets(files={}, texts={})


def test_environment_variables_of_pip_and_uv_are_followed(authority: Path) -> None:
    environment = {**NOTHING, "SSL_CERT_FILE": str(authority), "PIP_INDEX_URL": "https://index.example/"}
    assert Secrets.of_host(environment) == Secrets({"ca": authority}, {"pip_index": "https://index.example/"})


def test_pips_configuration_file_is_followed(tmp_path: Path, authority: Path) -> None:
    file = tmp_path / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text(f"[global]\ncert = {authority}\nindex-url = https://index.example/%20\n")
    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file)}
    assert Secrets.of_host(environment) == Secrets({"ca": authority}, {"pip_index": "https://index.example/%20"})


def test_a_ca_that_is_not_there_is_no_secret(tmp_path: Path) -> None:
    assert Secrets.of_host({**NOTHING, "PIP_CERT": str(tmp_path / "absent")}).files == {}


def test_every_dockerfile_of_the_project_has_a_recipe_whose_context_holds_what_it_copies() -> None:
    recipes = images.local_recipes(Binaries(Path("/built")))
    assert {"operator", "s3"} <= set(recipes)
    assert recipes["s3"].context == Path("/built"), "the store is built already: no toolchain image is needed"
    for name, recipe in recipes.items():
        copied = [
            source
            for line in recipe.dockerfile.read_text().splitlines()
            if line.startswith("COPY ") and "--from" not in line and name != "s3"
            for source in line.split()[1:-1]
            if source != "README.md"
        ]
        missing = [source for source in copied if not (recipe.context / source).exists()]
        assert missing == [], f"{name}: {missing}"
