"""Where a command may write. Checked before any work, so that an hour of it is not lost to a wrong path."""

import os
from pathlib import Path

from ellq_client.errors import InvalidOutput
from ellq_client.sinks import check_place


def check_new(path: Path, *, force: bool) -> None:
    """Check that a file can be written here without replacing one, unless that is wanted. Errors: OutputError."""
    check_place(path)
    if os.path.lexists(path) and not force:
        raise InvalidOutput(f"{path} exists; --force replaces it")


def check_report(path: Path, *, source: Path | str, output: Path | str | None, force: bool) -> None:
    """Check the same of a report, which must not take the place of the weights either. Errors: OutputError."""
    if _same(path, source):
        raise InvalidOutput(f"--json: {path} is the source itself; name another file")
    if output is not None and _same(path, output):
        raise InvalidOutput(f"--json: {path} is the output, too; name another file")
    check_new(path, force=force)


def _same(one: Path, other: Path | str) -> bool:
    """Return whether two names lead to one file, which need not exist yet."""
    if isinstance(other, str):
        return False  # a URI, which is no file of this side
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
