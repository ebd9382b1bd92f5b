"""Runs the script with the hooks in, exports what it trained, and ends with its exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from headrace_trainer.adapters import checkpoint, script, seeds, streams, threads
from headrace_trainer.adapters.adapter import Adapter
from headrace_trainer.adapters.checkpoint import Checkpoint, CheckpointError, Position, Writer
from headrace_trainer.adapters.imports import AfterImport
from headrace_trainer.adapters.messages import Messages, milliseconds
from headrace_trainer.adapters.refusal import refuse
from headrace_trainer.adapters.script_files import ScriptFiles
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.settings import Settings, SettingsError
from headrace_trainer.adapters.stopping import Stop

_WRITE_SECONDS = 120.0


def main(adapter: Adapter, arguments: Sequence[str]) -> int:
    """`arguments` are the entrypoint and what the script gets in sys.argv; the result is the script's exit code."""
    if not arguments:
        print("usage: python -m headrace_trainer.adapters.NAME ENTRYPOINT [--name=value ...]", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2
    seeds.fix_string_hashes(settings.seed)
    session = _open_session(settings)
    session.stop.install()
    calls = {
        **seeds.calls_after_import(settings.seed),
        "mlflow": lambda: _hook_mlflow(session),
        **adapter.hooks(session),
    }
    AfterImport(calls, lambda name, error: _refuse(session.messages, name, error), adapter.large).install()
    process = os.getpid()
    ending = script.run(arguments[0], arguments[1:], _scope(adapter, session), lambda error: _tell(session, error))
    if os.getpid() != process:
        # The script has forked this one, and it came to the script's end. The model, the checkpoints and the word about
        # them are the first one's, as are the threads of TensorFlow without which an export waits for ever.
        streams.give_back_broken()
        return ending.exit_code
    with contextlib.suppress(KeyboardInterrupt):  # the interpreter, too, goes on to its end then
        threads.wait_for_others()
    session.messages.send("ended")
    session.loop.script_ends()
    session.hand_over_end()
    if session.stop.is_requested:
        session.stop.exit_now()  # it has ended itself because of that; what it had to keep it has kept
    has_trained = session.send_trained()
    directory = settings.export_directory
    if has_trained and ending.exit_code == 0 and settings.is_chief and settings.formats and directory is not None:
        adapter.export(session, ending, directory)
    if session.writer is not None:
        session.writer.wait(_WRITE_SECONDS)
    session.messages.flush()
    streams.give_back_broken()
    return ending.exit_code


def _tell(session: Session, error: BaseException) -> None:
    """Before anything is printed: that may be a matter of the script's own, which may raise or end the process."""
    name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    session.messages.send(
        "exception",
        time=milliseconds(),
        exception=type(error).__name__,
        message="; ".join(filter(None, (streams.message_of(error), session.loop.advice(error)))),
        module=name if isinstance(name, str) else None,
        traceback=script.last_lines(error),
        frames=script.frames_of(error),
    )
    session.messages.flush()


def _scope(adapter: Adapter, session: Session) -> contextlib.AbstractContextManager[object]:
    if session.settings.workers > 1:
        return adapter.gang(session)
    return adapter.mirror(session) if session.settings.is_mirrored else contextlib.nullcontext()


def _open_session(settings: Settings) -> Session:
    messages = Messages(settings.message_descriptor)
    before = _read_checkpoint(settings, messages)
    began = time.time() if before is None or before.began is None else before.began
    writer: Writer | None = None
    directory = settings.checkpoint_directory
    if settings.is_chief and directory is not None:

        def on_written(folder: Path, position: Position) -> None:
            fields = {"fit": position.fit, "epoch": position.epoch, "step": position.step, "time": milliseconds()}
            messages.send("checkpoint", dir=str(folder), **fields)

        writer = Writer(directory, on_written, lambda message: messages.warn("checkpoint", message), began)

    def finish() -> None:
        session.hand_over_end()
        if writer is not None:
            writer.wait(settings.stop_seconds)
        messages.flush()

    files = _script_files(settings, messages, writer)
    if before is not None:
        assert settings.resume_directory is not None
        files.go_on_from(settings.resume_directory / checkpoint.FILES, before.snapshot.files)
        if writer is not None:
            for index, fit in enumerate(before.finished):
                writer.keep(index, fit)
    stop = Stop(finish, seconds=settings.stop_seconds, has_peers=settings.workers > 1)
    own = settings.resume_directory is not None and checkpoint.is_of_script(settings.resume_directory)
    session = Session(settings, messages, stop, writer, before, files, began=began, checkpoint_is_own=own)
    return session


def _script_files(settings: Settings, messages: Messages, writer: Writer | None) -> ScriptFiles:
    trace = settings.previous_steps_file
    ours = [settings.checkpoint_directory, settings.resume_directory, settings.export_directory, trace and trace.parent]
    directory = settings.checkpoint_directory
    return ScriptFiles(
        Path.cwd(),
        [path for path in ours if path is not None],
        None if writer is None or directory is None else checkpoint.copies(directory),
        lambda message: messages.warn("files", message),
    )


def _read_checkpoint(settings: Settings, messages: Messages) -> Checkpoint | None:
    if settings.resume_directory is None or checkpoint.is_of_script(settings.resume_directory):
        return None
    try:
        return checkpoint.read(settings.resume_directory)
    except CheckpointError as error:
        print(f"headrace: {error}; training starts from the beginning", file=sys.stderr)
        messages.send("resume", fit=0, epoch=0, step=0, exact=None, message=f"started from the beginning: {error}")
        return None


def _refuse(messages: Messages, name: str, error: Exception) -> NoReturn:
    version = getattr(sys.modules.get(name), "__version__", "of an unknown version")
    refuse(messages, error, f"{name} {version} cannot be followed")


def _hook_mlflow(session: Session) -> None:
    run_id, tracking_uri = os.environ.get("MLFLOW_RUN_ID"), os.environ.get("MLFLOW_TRACKING_URI")
    if run_id and tracking_uri:
        from headrace_trainer.adapters import mlflow_registry, mlflow_run

        mlflow_run.install(run_id, tracking_uri, streams.say, session.logs)
        mlflow_registry.install(tracking_uri, streams.say)
