"""What is written has the permission bits of its source at most, and of what it replaces; owner and group are whoever runs it.

A file is created with the permission bits of its source, of which the umask takes its share, as cp gives them. The file system
gives them at its creation, so that not even an unfinished file has more.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

ORDINARY = 0o666
"""What a file asks for that is made of no other: all that the umask leaves."""

OWNER_WRITES = 0o600
"""What a file needs beside, that its owner opens again to append to it."""

_OWNER_ENTERS = 0o700


def permissions_of(found: os.stat_result) -> int:
    """Return who may read, write and execute; nothing of setuid and its like, which no copy inherits."""
    return stat.S_IMODE(found.st_mode) & 0o777


def narrowest(permissions: Iterable[int]) -> int:
    """Return the permission bits that all have in common."""
    found = 0o777
    for one in permissions:
        found &= one
    return found


def create_file(place: Path, permissions: int) -> BinaryIO:
    """Return a new file, open for writing even where its permissions are for reading alone. Errors: OSError."""

    def opened(path: str, flags: int) -> int:
        return os.open(path, flags, permissions)

    return open(place, "xb", opener=opened)


def make_folder(place: Path, *, like: Path) -> None:
    """Make a folder that those may enter who may enter another one, and its owner. Errors: OSError."""
    place.mkdir(mode=permissions_of(like.stat()) | _OWNER_ENTERS)


def make_folders(place: Path, *, like: Path) -> None:
    """Make a folder and those that it lies in, as far as they are not there, each like its counterpart. Errors: OSError."""
    if not place.is_dir():
        make_folders(place.parent, like=like.parent)
        make_folder(place, like=like)
