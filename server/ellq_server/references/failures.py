"""What a store's failure means to the caller. Texts of stores stay here: they may tell of accounts and signed addresses."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ellq_server.logs import log
from ellq_server.references.allowed import Admitted
from ellq_server.refusals import EllqError, ReferenceRefused, StoreUnavailable

RETRY_AFTER_SECONDS = 5.0

_DENIED = ("PermissionDeniedError", "UnauthenticatedError")
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
        raise _refusal(admitted, kind, status[1] if status else None, doing, error) from None  # the cause may hold secrets


def unavailable(admitted: Admitted, why: str) -> StoreUnavailable:
    """Return the refusal for a store that may do better later."""
    return StoreUnavailable(f"{admitted}: {why}", retry_after_seconds=RETRY_AFTER_SECONDS)


def changed(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an object that is not what it was."""
    message = f"{admitted} changed while it was read; nothing of the two versions was mixed"
    return ReferenceRefused(message, reason="OBJECT_CHANGED", field=admitted.field)


def missing(admitted: Admitted) -> ReferenceRefused:
    """Return the refusal for an object that is not there."""
    return ReferenceRefused(f"{admitted} does not exist", reason="OBJECT_NOT_FOUND", field=admitted.field)


def denied(admitted: Admitted, doing: str) -> ReferenceRefused:
    """Return the refusal for an object that the server's own credentials do not open."""
    message = f"{admitted}: its store refuses this server, {doing}; its operator can change that"
    return ReferenceRefused(message, reason="STORE_DENIED", field=admitted.field)


def _refusal(admitted: Admitted, kind: str, status: str | None, doing: str, error: Exception) -> EllqError:
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return missing(admitted)
    if kind in _DENIED or status in ("401", "403"):
        return denied(admitted, doing)
    if kind == "PreconditionError":
        return changed(admitted)
    if isinstance(error, PermissionError):
        return denied(admitted, doing)
    if isinstance(error, OSError) and error.strerror:
        return unavailable(admitted, f"{error.strerror}, {doing}")
    answered = f"its store answered {status}" if status else "its store cannot be reached or breaks its own protocol"
    return unavailable(admitted, f"{answered}, {doing}")
