"""Fetches files in ranges, several at once, and proves each by its sum, which is made while the others still come.

Why not by boto3's transfer manager: docs/decisions/0052-loading.md. Memory is what `AT_ONCE` chunks take, however large
the model is.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from headrace_common.manifest import File
from headrace_common.s3 import Place
from headrace_loader.crew import Crew
from headrace_loader.failures import CHANGED_AFTER_EXPORT, LoadError, Reason
from headrace_loader.partial import Partial
from headrace_loader.progress import Progress
from headrace_loader.ranges import Range, Span, plan
from headrace_loader.reading import Patience, Stopped, Wanted, must_have, read
from headrace_loader.storage import ObjectNotFound, ObjectPart, ObjectStore

AT_ONCE = 16
_SUM_BYTES = 1 << 20


class _NotAsItWas(Exception):
    """What was fetched of a file before is not of the object that lies there now."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Transfer:
    """Of the model at `place`; `files` are its files by the path that each is to have in `partial`."""

    def __init__(
        self, place: Place, store: ObjectStore, files: Mapping[str, File], partial: Partial, progress: Progress
    ) -> None:
        self._place, self._store, self._files = place, store, files
        self._partial, self._progress = partial, progress

    def run(self, deadline_seconds: float) -> None:
        """Makes all files lie there, whole and verified. What lies there already stays, unless it turns out to be of
        another object: then that file is fetched anew, once.

        Raises LoadError, OSError.
        """
        anew: set[str] = set()
        while True:
            patience = Patience(deadline_seconds)
            self._progress.watch(patience)
            trial = _Trial(self._place, self._store, self._files, self._partial, self._progress, patience)
            try:
                trial.run()
            except _NotAsItWas as changed:
                trial.join()  # else a late one might write the old object's bytes over the new one's
                self._partial.forget(changed.path)
                if changed.path in anew:
                    raise LoadError(
                        Reason.FILE_CORRUPT,
                        f"{self._files[changed.path].path} was written anew while it was read.",
                        CHANGED_AFTER_EXPORT,
                    ) from changed
                anew.add(changed.path)
            else:
                return


class _Trial:
    """One try of all that is missing."""

    def __init__(
        self,
        place: Place,
        store: ObjectStore,
        files: Mapping[str, File],
        partial: Partial,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self._place, self._store, self._partial = place, store, partial
        self._progress, self._patience = progress, patience
        self._files = {path: _Coming(path, source, partial) for path, source in files.items()}
        sizes = {path: source.size for path, source in files.items()}
        ranges = plan(sizes, {path: partial.present(path) for path in files})
        progress.begin(sum(sizes.values()), partial.present_bytes())
        asked = {one.path for one in ranges}
        whole = [Range(path, Span(0, 0)) for path in files if path not in asked]  # to be proven only
        self._items = (*whole, *ranges)
        self._crew = Crew(self._fetch, min(AT_ONCE, len(self._items)), patience.stop, Stopped)

    def run(self) -> None:
        self._crew.work_through(self._items)

    def join(self) -> None:
        """Waits until nothing is written any more."""
        self._crew.join()

    def _fetch(self, one: Range) -> None:
        file = self._files[one.path]
        with _opened(self._partial, one.path) as descriptor:
            if one.span.size > 0:
                self._write(file, one.span, descriptor)
                self._partial.note(one.path, one.span, file.tag)
                file.add(one.span)
            file.prove(descriptor)

    def _write(self, file: _Coming, span: Span, descriptor: int) -> None:
        key = self._place.below(file.source.path).key
        offset, end = span.begin, span.end if span.size < file.source.size else None
        try:
            for chunk in read(self._store, Wanted(key, file.check, span.begin, end), self._patience):
                view = memoryview(chunk)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    offset, view = offset + written, view[written:]
                self._progress.add(len(chunk))
        except ObjectNotFound as error:
            raise LoadError(
                Reason.FILE_NOT_FOUND,
                f"{file.source.path} is in the manifest and not in storage ({self._place}).",
                "A file of the model was deleted in S3: train again, or point spec.model at another version.",
            ) from error


class _Coming:
    """A file of which parts are there. Its sum grows with what is there from its beginning on."""

    def __init__(self, path: str, source: File, partial: Partial) -> None:
        self.source = source
        self.tag = partial.tag(path)
        self._path = path
        self._ends = {span.begin: span.end for span in partial.present(path)}
        self._is_resumed = bool(self._ends)
        self._turn, self._summing = threading.Lock(), threading.Lock()
        self._summed = 0
        self._sum = hashlib.sha256()

    def check(self, part: ObjectPart) -> None:
        """All parts have to be of one object: raises where an answer is of another one than the answer before."""
        must_have(self.source.path, part, self.source.size)
        with self._turn:
            self.tag = self.tag or part.tag
            if part.tag != self.tag:
                raise _NotAsItWas(self._path)

    def add(self, span: Span) -> None:
        with self._turn:
            self._ends[span.begin] = span.end

    def prove(self, descriptor: int) -> None:
        """Sum up what is there by now, unless another thread is about it: that one goes on with what comes meanwhile.
        Raises LoadError(FileCorrupt) when all is there, and it is not what it is to be.
        """
        while self._summed in self._ends and self._summing.acquire(blocking=False):
            try:
                while (end := self._ends.get(self._summed)) is not None:
                    self._sum_up(descriptor, end)
            finally:
                self._summing.release()
        if self._summed < self.source.size or self._sum.hexdigest() == self.source.sha256:
            return
        if self._is_resumed:  # the machine may have gone down with bytes that were not on the disk yet
            raise _NotAsItWas(self._path)
        raise LoadError(
            Reason.FILE_CORRUPT,
            f"{self.source.path} has the sha256 {self._sum.hexdigest()}; the manifest says {self.source.sha256}.",
            CHANGED_AFTER_EXPORT,
        )

    def _sum_up(self, descriptor: int, end: int) -> None:
        while self._summed < end:
            chunk = os.pread(descriptor, min(_SUM_BYTES, end - self._summed), self._summed)
            if not chunk:  # a file that was cut off since
                raise _NotAsItWas(self._path)
            self._sum.update(chunk)
            self._summed += len(chunk)


@contextmanager
def _opened(partial: Partial, path: str) -> Iterator[int]:
    descriptor = partial.open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
