"""The journal of a folder of work: which parts are finished, one line for each, and nothing that a kill could make untrue."""

import json
import os
from pathlib import Path
from threading import Lock

from ellq_client.durable import flush_names
from ellq_client.errors import OutputError, ReportError
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.places import open_own, read_own, reported
from ellq_client.permissions import OWNER_WRITES
from ellq_client.plain import from_plain, to_plain
from ellq_client.report import Part

_NAME = "journal.jsonl"


class Journal:
    """The journal of the one process that is at work here. Errors: OutputError."""

    def __init__(self, directory: Path, *, permissions: int) -> None:
        """Take up what is there, if anything, without the half of a last line that a kill left."""
        self._directory = directory
        self._permissions = permissions
        self._recorded_bytes = _cut_torn_line(directory / _NAME)
        self._appending = Lock()

    def append(self, part: Part) -> None:
        """Flush to the disk which files the folder holds, then the line of a finished part. Several threads may do so."""
        line = json.dumps(to_plain(part), allow_nan=False).encode() + b"\n"
        with self._appending, reported(self._directory):
            flush_names(self._directory)
            journal = open_own(self._directory / _NAME, os.O_WRONLY | os.O_CREAT, self._permissions | OWNER_WRITES)
            try:
                if os.fstat(journal).st_size > self._recorded_bytes:  # a disk that was full may have taken half of a line
                    os.truncate(journal, self._recorded_bytes)
                _append(journal, line)
            finally:
                os.close(journal)
            self._recorded_bytes += len(line)


def read_journal(output: Path) -> list[Part]:
    """Return what is finished of an output, begun or not; others may be writing there. Errors: OutputError."""
    journal = output / PROGRESS / _NAME
    with reported(journal):
        lines = read_own(journal).split(b"\n") if os.path.lexists(journal) else [b""]
    try:
        return [from_plain(Part, json.loads(line), path="journal") for line in lines[:-1]]  # the last may be torn
    except (ValueError, TypeError, OverflowError, RecursionError, ReportError) as error:
        raise OutputError(f"{journal} is damaged ({error}); remove {output} and begin anew") from error


def _append(handle: int, line: bytes) -> None:
    """Write a line at the end of a file, and flush it to the disk."""
    os.lseek(handle, 0, os.SEEK_END)
    left = memoryview(line)
    while left:
        left = left[os.write(handle, left) :]
    os.fsync(handle)


def _cut_torn_line(journal: Path) -> int:
    """Remove what a kill left of a last line; return the length of the journal."""
    with reported(journal):
        if not os.path.lexists(journal):
            return 0
        with open(open_own(journal, os.O_RDWR), "rb+") as file:
            whole = file.read().rfind(b"\n") + 1
            os.truncate(file.fileno(), whole)
            return whole
