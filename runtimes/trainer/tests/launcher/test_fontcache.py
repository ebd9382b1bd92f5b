"""The list of fonts of the image is the one that a script's Matplotlib reads."""

import json
import os
import subprocess
import sys

import pytest

from headrace_trainer.launcher import fontcache

COUNTS = "import matplotlib.font_manager as fonts; print('fonts:', len(fonts.fontManager.ttflist))"
ANY_PROGRAM = {"framework": "Script"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An image's folder; its list has one font only, by which it is known."""
    folder = tmp_path_factory.mktemp("image")
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, env={**os.environ, "MPLCONFIGDIR": str(folder)}, check=True)
    [file] = folder.glob("fontlist-*.json")
    fonts = json.loads(file.read_text())
    del fonts["ttflist"][1:]
    file.write_text(json.dumps(fonts))
    return folder


def test_the_script_s_matplotlib_reads_the_image_s_list(launch, made, tmp_path):
    home = tmp_path / "home"
    env = {fontcache.VARIABLE: str(made), "HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}

    launched = launch(COUNTS, config=ANY_PROGRAM, env=env)

    assert launched.wait() == 0
    assert "fonts: 1\n" in launched.log


def test_a_list_that_is_there_stays(made, tmp_path):
    [file] = made.iterdir()
    own = tmp_path / "matplotlib" / file.name
    own.parent.mkdir()
    own.write_text("own")

    fontcache.lay_out({fontcache.VARIABLE: str(made), "XDG_CACHE_HOME": str(tmp_path)})

    assert own.read_text() == "own"


@pytest.mark.parametrize("env", [{}, {"MPLCONFIGDIR": "/elsewhere"}, {"HOME": ""}, {"XDG_CACHE_HOME": "/proc/none"}])
def test_where_there_is_no_place_for_it_nothing_happens(made, tmp_path, env, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variable = {fontcache.VARIABLE: str(made)} if env else {"XDG_CACHE_HOME": str(tmp_path)}

    fontcache.lay_out(variable | env)

    assert list(tmp_path.iterdir()) == []
