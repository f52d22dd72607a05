"""Walks down from a prefix to a file without ever following a link, so that none can lead out of it."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from ellq_server.references.allowed import Admitted
from ellq_server.references.failures import denied, missing
from ellq_server.refusals import EllqError, ReferenceRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def folder_of(admitted: Admitted) -> Generator[int]:
    """Open the folder that a file lies in, and close it again. Errors: ReferenceRefused.

    The prefix is the operator's, who may lead it through links; below it every name is opened by itself, in the folder before.
    """
    parts, known = admitted.reference.parts, len(admitted.prefix.parts)
    known = min(known, len(parts) - 1)  # a prefix may name the file itself
    with _told(admitted):
        folder = os.open("/" + "/".join(parts[:known]), _FOLDER)
        try:
            for name in parts[known:-1]:
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


@contextmanager
def _told(admitted: Admitted) -> Generator[None]:
    """Turn errors of the system into refusals."""
    try:
        yield
    except EllqError:
        raise
    except FileNotFoundError as error:
        raise missing(admitted) from error
    except PermissionError as error:
        raise denied(admitted, "asked to open it") from error
    except OSError as error:  # ELOOP, ENOTDIR: a link, or a file where a folder should be
        raise no_file(admitted, f"leads through a link or through what is no folder ({error.strerror})") from error


def no_file(admitted: Admitted, why: str) -> ReferenceRefused:
    """Return the refusal for what is no ordinary file below the prefix."""
    return ReferenceRefused(f"{admitted} {why}", reason="URI_NOT_ALLOWED", field=admitted.field)
