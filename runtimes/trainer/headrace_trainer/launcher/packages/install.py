"""The packages that the script needs beyond the image's: what `requirements.txt`, at the root of the source, names.

Resolved once a job, with the versions that the image has where they will do; then what the image lacks is put into a
folder that comes first on the script's import path (environment.py). The launcher itself imports nothing from it. The
folder appears when it is complete. A source without the file costs nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from headrace_common.protocol.config import VARIABLE, Config
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import KEY_VARIABLE
from headrace_trainer.launcher.failures.judge import Failed, index_unavailable
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.packages.copy import PackageCopy
from headrace_trainer.launcher.packages.installed import installed
from headrace_trainer.launcher.packages.lock import PackageLock
from headrace_trainer.launcher.packages.requirements import Options, added, entries, options_of
from headrace_trainer.launcher.packages.uv import IndexAway, Uv, redacted
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.store.s3 import Patience, Store

REQUIREMENTS = "requirements.txt"
# The same modules under another name: who asks for the one has the other. A tensorflow-cpu in front of an image's
# tensorflow would hide the GPUs.
_STANDS_FOR = {"tensorflow": "tensorflow-cpu", "tensorflow-cpu": "tensorflow"}
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Packages:
    """Those of one worker. Without storage there is neither lock nor copy, and each attempt and each worker resolves
    for itself.
    """

    def __init__(self, config: Config, settings: Settings, store: Store | None) -> None:
        self._file = config.source / REQUIREMENTS
        self._has_script = bool(config.entrypoint)
        self._settings = settings
        self._lock: PackageLock | None = None
        self._copy: PackageCopy | None = None
        if store is not None and config.checkpoints is not None:
            self._lock = PackageLock(config.checkpoints, config.job.attempt, store)
            self._copy = PackageCopy(config.checkpoints, config.job.attempt, store)
        self._uv = Uv()
        self._deadline = 0.0

    @property
    def are_asked_for(self) -> bool:
        return self._has_script and self._file.is_file()

    def install(self) -> None:
        """Raises Failed (PackagesNotInstalled, PackageIndexUnavailable, Storage...), and Ended after `stop`."""
        self._deadline = time.monotonic() + self._settings.packages
        folder, work = self._settings.paths.packages, self._settings.paths.packages_work
        for old in (folder, work):
            shutil.rmtree(old, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            self._install_into(folder, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def stop(self) -> None:
        """End the installation that is under way."""
        self._uv.stop()

    def _install_into(self, folder: Path, work: Path) -> None:
        options = options_of(self._file)
        lock = self._locked(work, options)
        if not lock:
            log(f"{REQUIREMENTS}: the image has it all")
            return
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        if self._copy is None or not self._copy.fetch(lock, part, work):
            self._install_locked(lock, part, work, options)
            if self._copy is not None and self._settings.worker == 0:
                self._copy.keep(lock, part, work)
        part.rename(folder)

    def _install_locked(self, lock: str, part: Path, work: Path, options: Options) -> None:
        log(f"{REQUIREMENTS}: installing {redacted(', '.join(entries(lock)))}")
        listed = work / "lock.txt"
        listed.write_text("".join(f"{line}\n" for line in options.lines) + lock, encoding="utf-8")
        # Hard links: the cache, which goes afterwards, lies beside it.
        install = ["pip", "install", "--target", str(part), "--no-deps", "--link-mode=hardlink"]
        self._run([*install, "--requirements", str(listed)], work, options)

    def _locked(self, work: Path, options: Options) -> str:
        patience = Patience(self._settings.outage)
        if self._lock is None:
            return self._resolve(work, options)
        if self._settings.worker > 0:
            return self._lock.await_it(self._settings.packages, patience)
        lock = self._lock.of_earlier_attempt(patience)
        if lock is None:
            lock = self._resolve(work, options)
        else:
            log(f"{REQUIREMENTS}: the versions are those of the first attempt")
        self._lock.publish(lock, patience)
        return lock

    def _resolve(self, work: Path, options: Options) -> str:
        """What the image lacks, pinned and with hashes; empty where it lacks nothing, for which no index is asked."""
        has = {name: pin.version for name, pin in installed().items()}
        there = has | {name: has[real] for name, real in _STANDS_FOR.items() if real in has and name not in has}
        # tensorflow is kept by whatever name it is there: the newest tensorflow-text wants the newest of it.
        kept = (there.keys() - has.keys()) | (there.keys() & {"tensorflow"})
        needed = self._needed(work, options, {name: there[name] for name in sorted(kept)})
        lacking = {name: version for name, version in needed.items() if version == "" or there.get(name) != version}
        if not lacking:
            return ""
        # Of these alone: without what the image has, and in the versions that were found.
        excluded, resolved = work / "excluded.txt", work / "resolved.txt"
        excluded.write_text("".join(f"{name}\n" for name in there if name not in lacking))
        resolved.write_text(_pins(lacking))
        pin = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", self._file.name]
        self._run([*pin, "--output-file", str(resolved), "--excludes", str(excluded)], work, options)
        return resolved.read_text(encoding="utf-8")

    def _needed(self, work: Path, options: Options, kept: Mapping[str, str]) -> dict[str, str]:
        """What uv would install beside the image's packages, of which it does not know that one stands for another:
        with the versions in `kept` it is tried first.
        """
        ask = ["pip", "install", "--dry-run", "--requirements", self._file.name]
        if kept:
            constraints = work / "constraints.txt"
            constraints.write_text(_pins(kept))
            try:
                return added(self._run([*ask, "--constraints", str(constraints)], work, options))
            except Failed as error:
                if error.failure.reason is not Reason.PACKAGES_NOT_INSTALLED:
                    raise
        return added(self._run(ask, work, options))

    def _run(self, arguments: list[str], work: Path, options: Options) -> str:
        """What uv said. An index that is away is waited for, within the patience and the time that there is."""
        env, pause, away_since = self._env(work, options), _FIRST_PAUSE, 0.0
        while True:
            try:
                return self._uv.run(
                    [*arguments, "--python", sys.executable], env, self._file.parent, self._deadline - time.monotonic()
                )
            except IndexAway as error:
                away_since = away_since or time.monotonic()
                until = min(away_since + self._settings.outage, self._deadline)
                if time.monotonic() + pause > until:
                    raise Failed(index_unavailable(str(error))) from error
            log(f"{REQUIREMENTS}: the package index does not answer, trying again in {pause:.0f} s")
            self._uv.rest(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _env(self, work: Path, options: Options) -> dict[str, str]:
        """The pod's, without the masking key: a package may be built by a program of its own. What uv writes goes below
        the working directory. A file that names its index has that one, as with pip: uv would let the environment's
        win.
        """
        hidden = {VARIABLE, KEY_VARIABLE, "PYTHONPATH"}
        if options.name_an_index:
            hidden |= {"UV_DEFAULT_INDEX", "UV_INDEX_URL"}
        env = {"UV_HTTP_RETRIES": "0"} | {name: value for name, value in os.environ.items() if name not in hidden}
        return env | {
            "HOME": str(work),
            "UV_CACHE_DIR": str(work / "cache"),
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "NO_COLOR": "1",
        }


def _pins(versions: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in versions.items() if version)
