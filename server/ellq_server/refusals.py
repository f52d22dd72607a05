"""Everything the service refuses, and whose move it is.

EllqError
├── InvalidRequest            the caller must change the request
│   ├── MalformedWeights      the byte stream is not a safetensors file
│   │   ├── TruncatedStream   it ended early
│   │   └── TrailingBytes     it went on after the last tensor
│   ├── NonfiniteWeight       NaN or infinity where numbers are needed
│   ├── ReferenceRefused      a URI that is not opened, or an object that cannot be read or written
│   └── TooLarge              beyond this server's limits for ever
├── Busy                      come back later; says when
├── Draining                  another replica will answer
├── StoreUnavailable          a store of objects does not answer; says when to come back
├── CertificateRefuted        our own re-check failed; nothing that was sent may be used
└── Defect                    our fault
"""

from collections.abc import Iterator

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "ellq.v1"
"""ErrorInfo.domain of every refusal."""

LONGEST_MESSAGE_BYTES = 1200
"""UTF-8 bytes of a message that travel. It travels three times, twice in base64 and once percent-encoded at up to three bytes
for one, and all of it must stay below 8 KB of metadata."""


class EllqError(Exception):
    """An error raised on purpose. `reason` is a name of ellq.v1.ErrorReason without its prefix."""

    reason = "DEFECT"

    def __init__(
        self, message: str, *, reason: str | None = None, field: str = "", retry_after_seconds: float | None = None
    ) -> None:
        """Keep what the caller needs to act on.

        `field` is the path of the offending field in the request, such as "options.rule.tail.epsilon".
        """
        super().__init__(message)
        self.reason = reason or type(self).reason
        if not self.reason:
            raise TypeError(f"{type(self).__name__} needs a reason")
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(EllqError):
    """The caller must change the request. Every place that raises one says the reason."""

    reason = ""


class MalformedWeights(InvalidRequest):
    """The byte stream is not a safetensors file."""

    reason = "MALFORMED_WEIGHTS"


class TruncatedStream(MalformedWeights):
    """The byte stream ended early."""

    reason = "TRUNCATED_STREAM"


class TrailingBytes(MalformedWeights):
    """The byte stream went on after the last tensor."""

    reason = "TRAILING_BYTES"


class NonfiniteWeight(InvalidRequest):
    """A compressible tensor holds NaN or infinity."""

    reason = "NONFINITE_WEIGHT"


class ReferenceRefused(InvalidRequest):
    """A URI that this server does not open, or an object that cannot be read or written. Every place says the reason."""


class TooLarge(InvalidRequest):
    """Beyond this server's limits for ever. Every place that raises one says which limit."""


class Busy(EllqError):
    """No room now; come back after `retry_after_seconds`."""

    reason = "BUSY"


class Draining(EllqError):
    """This replica is shutting down."""

    reason = "DRAINING"


class StoreUnavailable(EllqError):
    """A store of objects does not answer, or cannot now."""

    reason = "STORE_UNAVAILABLE"


class CertificateRefuted(EllqError):
    """The server's own re-check of a certificate failed."""

    reason = "CERTIFICATE_REFUTED"


class Defect(EllqError):
    """An error that nobody raised on purpose."""

    reason = "DEFECT"


STATUS = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    Busy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Draining: grpc.StatusCode.UNAVAILABLE,
    StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    CertificateRefuted: grpc.StatusCode.INTERNAL,
    Defect: grpc.StatusCode.INTERNAL,
}
"""The canonical code of every kind of refusal; subclasses inherit theirs."""


def code_of(error: EllqError) -> grpc.StatusCode:
    """Return the canonical code of a refusal."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def shorten(text: str, longest: int = 200) -> str:
    """Return text that fits a message: names and globs come from the caller and can be of any length."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def message_of(error: EllqError) -> str:
    """Return the message as it travels."""
    text = str(error)
    return (
        text
        if len(text.encode()) <= LONGEST_MESSAGE_BYTES
        else text.encode()[:LONGEST_MESSAGE_BYTES].decode(errors="ignore") + "…"
    )


def metadata_of(error: EllqError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of a refusal: the rich status, and retry-after where coming back can help."""
    message = message_of(error)
    status = status_pb2.Status(code=code_of(error).value[0], message=message, details=list(_details(error, message)))
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if error.retry_after_seconds is not None:
        metadata.append(("retry-after", f"{error.retry_after_seconds:.3f}"))
    return tuple(metadata)


def _details(error: EllqError, message: str) -> Iterator[any_pb2.Any]:
    yield _packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if isinstance(error, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message, reason=error.reason)
        yield _packed(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        yield _packed(error_details_pb2.RetryInfo(retry_delay=delay))


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
