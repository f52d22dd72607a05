"""What a store's failure means to the caller. Texts of stores stay here: they may tell of accounts and signed addresses."""

import errno
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ellq_server.logs import log
from ellq_server.references.allowed import Admitted
from ellq_server.references.uri import ONE_OBJECT
from ellq_server.refusals import EllqError, ReferenceRefused, StoreUnavailable

RETRY_AFTER_SECONDS = 5.0

_NO_WAY = (errno.ELOOP, errno.ENOTDIR)
"""What the system says of a link that is not followed, and of a file where a folder should be."""

_STATUS = re.compile(r"status code: (\d{3})\b")


@asynccontextmanager
async def told(admitted: Admitted, doing: str) -> AsyncGenerator[None]:
    """Turn whatever a store raises into a refusal that names the object. Errors: ReferenceRefused, StoreUnavailable."""
    try:
        yield
    except EllqError:
        raise
    except TimeoutError as error:
        raise unavailable(admitted, f"its store did not answer in time, {doing}") from error
    except Exception as error:
        if type(error).__module__ == "builtins" and not isinstance(error, OSError):
            raise  # libraries of stores raise errors of their own: this one is a defect of ours
        status = _STATUS.search(str(error))
        kind = type(error).__name__
        log.warning("store failed", uri=str(admitted.reference), doing=doing, kind=kind, status=status and status[1])
        if isinstance(error, OSError):
            raise _of_system(admitted, error, doing) from None
        raise _of_store(admitted, error, status[1] if status else None, doing) from None  # the cause may hold secrets


def unavailable(admitted: Admitted, why: str) -> StoreUnavailable:
    """Return the refusal for a store that may do better later."""
    return StoreUnavailable(f"{admitted}: {why}", retry_after_seconds=RETRY_AFTER_SECONDS)


def changed(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an object that is not what it was."""
    message = f"{admitted} changed while it was read; nothing of the two versions was mixed"
    return ReferenceRefused(message, reason="OBJECT_CHANGED", field=admitted.field)


def missing(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an object that is not there. What is not named like a file of weights may be meant as a folder."""
    folder = "" if admitted.reference.key.endswith(".safetensors") else f"; {ONE_OBJECT}"
    return ReferenceRefused(f"{admitted} does not exist{folder}", reason="OBJECT_NOT_FOUND", field=admitted.field)


def no_folder(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an output whose folder is not there."""
    message = f"{admitted}: the folder that it would lie in does not exist; none is created"
    return ReferenceRefused(message, reason="OBJECT_NOT_FOUND", field=admitted.field)


def exists(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an output that is there and is not to be replaced."""
    message = f"{admitted} exists; options.replace_output replaces it"
    return ReferenceRefused(message, reason="OUTPUT_EXISTS", field=admitted.field)


def denied(admitted: Admitted, doing: str) -> ReferenceRefused:
    """Return the refusal for an object that the server's own credentials do not open."""
    message = f"{admitted}: its store refuses this server, {doing}; its operator can change that"
    return ReferenceRefused(message, reason="STORE_DENIED", field=admitted.field)


def no_file(admitted: Admitted, why: str) -> ReferenceRefused:
    """Return the refusal for what is no ordinary file below the prefix."""
    return ReferenceRefused(f"{admitted} {why}", reason="URI_NOT_ALLOWED", field=admitted.field)


def _of_system(admitted: Admitted, error: OSError, doing: str) -> EllqError:
    """Return what an error of the system means. What the caller cannot help, such as a full disk, may pass."""
    if isinstance(error, FileNotFoundError):
        return missing(admitted)
    if isinstance(error, PermissionError):
        return denied(admitted, doing)
    if error.errno in _NO_WAY:
        return no_file(admitted, f"leads through a link or through what is no folder ({error.strerror})")
    if error.errno == errno.ENAMETOOLONG:
        message = f"{admitted}: a part of its path is longer than its file system allows"
        return ReferenceRefused(message, reason="INVALID_URI", field=admitted.field)
    return unavailable(admitted, f"{error.strerror or 'its store cannot be reached'}, {doing}")


def _of_store(admitted: Admitted, error: Exception, status: str | None, doing: str) -> EllqError:
    """Return what an error of obstore, or of the client of a hub, means."""
    exceptions: Any = sys.modules.get("obstore.exceptions")
    if exceptions is None:  # hf:// goes without it, and it is not imported on the event loop to see whose error this is
        return _unanswered(admitted, status, doing)
    match error:
        case exceptions.NotFoundError():
            return missing(admitted)
        case exceptions.PreconditionError():
            return changed(admitted)
        case exceptions.AlreadyExistsError():
            return exists(admitted)
        case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return denied(admitted, doing)
        case _:
            return _unanswered(admitted, status, doing)


def _unanswered(admitted: Admitted, status: str | None, doing: str) -> EllqError:
    if status in ("401", "403"):
        return denied(admitted, doing)
    answered = f"its store answered {status}" if status else "its store cannot be reached or breaks its own protocol"
    return unavailable(admitted, f"{answered}, {doing}")
