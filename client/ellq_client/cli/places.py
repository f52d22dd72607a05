"""Where a command may write. Checked before any work, so that an hour of it is not lost to a wrong path."""

import os
from collections.abc import Mapping
from pathlib import Path

from ellq_client.errors import InvalidOutput
from ellq_client.partial_file import check_place


def check_new(path: Path, *, force: bool) -> None:
    """Check that a file can be written here without replacing one, unless that is wanted. Errors: OutputError."""
    check_place(path)
    if os.path.lexists(path) and not force:
        raise InvalidOutput(f"{path} exists; --force replaces it")


def check_report(path: Path, *, taken: Mapping[str, Path | str | None], force: bool) -> None:
    """Check the same of a report, which takes no place that is taken either. Errors: OutputError.

    `taken` are the places of everything else, by what they are, such as "the source itself".
    """
    for what, place in taken.items():
        if place is not None and _same(path, place):
            raise InvalidOutput(f"--json: {path} is {what}; name another file")
    check_new(path, force=force)


def _same(one: Path, other: Path | str) -> bool:
    """Return whether two names lead to one file, which need not exist yet."""
    if isinstance(other, str):
        return False  # a URI, which is no file of this side
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
