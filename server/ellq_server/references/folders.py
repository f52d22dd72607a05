"""Walks down from a prefix to a file without ever following a link, so that none can lead out of it."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from ellq_server.references.allowed import Admitted

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def folder_of(admitted: Admitted) -> Generator[int]:
    """Open the folder that a file lies in, and close it again. Errors: OSError, ELOOP or ENOTDIR for a link.

    The prefix is the operator's, who may lead it through links; below it every name is opened by itself, in the folder before.
    """
    parts, known = admitted.reference.parts, len(admitted.prefix.parts)
    known = min(known, len(parts) - 1)  # a prefix may name the file itself
    folder = os.open("/" + "/".join(parts[:known]), _FOLDER)
    try:
        for name in parts[known:-1]:
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
