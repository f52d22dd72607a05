"""The folder of work inside an unfinished output: the plan, what is done already, and the shards until all of them are.

    OUT/.ellq-progress/plan.json       what is done here; written first
    OUT/.ellq-progress/journal.jsonl   one line for each finished part, flushed to the disk after its shards
    OUT/.ellq-progress/*.safetensors   shards, finished or not: the journal tells

Whoever finds it with the same plan goes on. It is removed last.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ellq_client.durable import flush_names
from ellq_client.errors import InvalidOutput, OutputError
from ellq_client.folders.files import PROGRESS, FolderFile
from ellq_client.folders.folder import Folder
from ellq_client.folders.journal import Journal, read_journal
from ellq_client.folders.places import put, put_copy, read_own, reported
from ellq_client.folders.plan import differences, read_plan
from ellq_client.permissions import make_folder, make_folders
from ellq_client.report import Part

_PLAN = "plan.json"
_COPY = "copy.partial"


class Workplace:
    """The folder of work of one process, from entering to leaving. Errors: OutputError."""

    def __init__(self, folder: Folder, output: Path, plan: Mapping[str, Any]) -> None:
        """Enter the work of this plan for a folder on this output, begun or not. Refuses an output that holds anything else."""
        self.output = output
        self.directory = output / PROGRESS
        self._source = folder.path
        self._permissions = folder.permissions
        self._created = self._began = False
        with reported(output):
            try:
                self._created = _make(output, like=folder.path)
                self._began = _make(self.directory, like=folder.path)
                self._lock = _lock(self.directory)
            except OSError:  # such as by a umask that closes a new folder to its owner
                self._unmake()
                raise
        try:
            self._agree_on(plan)
            self._journal = Journal(self.directory, permissions=self._permissions)
            self.finished = {part.shards: part for part in read_journal(output)}
            self._worth_keeping = bool(self.finished)
        except BaseException:
            with self:  # others may enter afterwards, whatever becomes of that
                self._unmake()
            raise

    def record(self, part: Part) -> None:
        """Note that a part is finished, once its shards are on the disk. Parts may end in several threads."""
        self._worth_keeping = True
        self._journal.append(part)
        self.finished[part.shards] = part

    def forget(self, part: Part) -> None:
        """Take a part for unfinished that is not what the journal says."""
        del self.finished[part.shards]

    def put(self, data: bytes, name: str, *, permissions: int) -> None:
        """Put a whole file into the output, over what was there."""
        with reported(self.output / name):
            put(data, self.output / name, by=self.directory / _COPY, permissions=permissions)
            flush_names(self.output)

    def put_copy(self, file: FolderFile) -> None:
        """Put a copy of a file of the source into the output, over what was there."""
        place = self.output / file.name
        with reported(place):
            make_folders(place.parent, like=(self._source / file.name).parent)
            put_copy(file.path, place, by=self.directory / _COPY)
            flush_names(place.parent)

    def release(self, name: str) -> None:
        """Move a finished shard to its place, unless it is there."""
        with reported(self.output / name):
            if (self.directory / name).exists():
                os.replace(self.directory / name, self.output / name)
                flush_names(self.output)

    def remove(self) -> None:
        """End the work: all is in its place."""
        with reported(self.output):
            _remove(self.directory)
            flush_names(self.output)

    def abandon(self) -> None:
        """Leave nothing behind, when no part was finished here; harmless when one was."""
        if not self._worth_keeping:
            with suppress(OSError):
                _remove(self.directory)
            if self._created and not any(self.output.iterdir()):
                self.output.rmdir()

    def leave(self) -> None:
        """Let others enter."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _agree_on(self, plan: Mapping[str, Any]) -> None:
        place = self.directory / _PLAN
        if os.path.lexists(place):
            problems = _differences(place, plan)
            if problems:
                advice = "repeat the command that began it, or remove it"
                raise OutputError("\n  ".join([f"{self.output} holds an unfinished compression; {advice}:", *problems]))
            return
        with reported(self.output):
            others = [name for name in os.listdir(self.output) if name != PROGRESS]
        if others:
            raise InvalidOutput(f"{self.output} is not empty ({min(others)}, ...); name a new folder or an empty one")
        with reported(self.directory):
            strays = [entry.name for entry in os.scandir(self.directory) if not _is_torn_copy(entry)]
        if strays:
            raise OutputError(f"{self.directory} holds {min(strays)} but no {_PLAN}; remove it, or name a new folder")
        with reported(place):
            put(json.dumps(plan, indent=1).encode(), place, by=self.directory / _COPY, permissions=self._permissions)
            flush_names(self.directory)

    def _unmake(self) -> None:
        """Remove the folders that were made here, as long as there is no more in them than half of a plan."""
        with suppress(OSError):
            if self._began:
                (self.directory / _COPY).unlink(missing_ok=True)
                self.directory.rmdir()
            if self._created:
                self.output.rmdir()


def _differences(place: Path, plan: Mapping[str, Any]) -> list[str]:
    with reported(place):
        text = read_own(place)
    try:
        return differences(read_plan(text), plan)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{place} is damaged ({error}); remove {place.parent.parent} and begin anew") from error


def _is_torn_copy(entry: os.DirEntry[str]) -> bool:
    """Return whether this is what a kill leaves while the plan is written."""
    return entry.name == _COPY and entry.is_file(follow_symlinks=False)


def _remove(directory: Path) -> None:
    """Remove the folder of work, the plan last: a kill on the way leaves one that can be gone on with."""
    for name in sorted(os.listdir(directory), key=lambda name: name == _PLAN):
        place = directory / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    directory.rmdir()


def _make(directory: Path, *, like: Path) -> bool:
    """Make a folder with the permissions of another one; return whether it was not there before."""
    try:
        make_folder(directory, like=like)
    except FileExistsError:
        if directory.is_dir() and not (directory.name == PROGRESS and directory.is_symlink()):
            return False
        raise InvalidOutput(f"{directory} is no folder; name a new one or an empty one") from None
    return True


def _lock(directory: Path) -> int:
    """Return a handle that keeps others out until it is closed, by this process or by its end."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.stat(directory)):
            raise FileNotFoundError
    except (BlockingIOError, FileNotFoundError) as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise OutputError(f"another process is at work on {directory.parent}") from None
        raise OutputError(f"another process ended its work on {directory.parent} just now; repeat the command") from None
    return handle
