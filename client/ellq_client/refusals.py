"""From a gRPC error to one of ours."""

import re
from contextlib import suppress

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ellq_client.channels import ServerAddress
from ellq_client.errors import REASONS, STATUSES, MessageTooLarge, RemoteError
from ellq_client.handshakes import unreached

ERROR_DOMAIN = "ellq.v1"

_TOO_LONG = re.compile("message (is )?(larger than max|exceeds maximum)")
"""How the implementations of gRPC word a message beyond their limit; the status is that of a busy server."""

_OTHER_TENSORS = re.compile(r"not in the stream|\bshapes?\b")
"""How a server words that a network and the tensors of a file do not fit together."""


def read_refusal(error: grpc.RpcError, server: ServerAddress) -> RemoteError:
    """Return the error of this package for a failed call; the reason decides, else the status.

    The gRPC error is attached as `__cause__`, so that a plain `raise` keeps it.
    """
    # The error is the call, and through the frames of its traceback would hold itself: a call that is dropped only at the
    # interpreter's end can wait for ever for a lock.
    error.__traceback__ = None
    call: grpc.Call = error  # type: ignore[assignment]  # every RpcError of a finished call is a Call as well
    metadata = dict(call.trailing_metadata() or ())
    details = _Details(metadata.get("grpc-status-details-bin"))
    if details.retry_after_seconds is None:
        details.retry_after_seconds = _seconds(metadata.get("retry-after"))
    told = call.details() or call.code().name
    kind = REASONS.get(details.reason or "") or _kind_of_status(call.code(), told)
    if call.code() is grpc.StatusCode.UNAVAILABLE and details.reason is None:
        kind, told = unreached(told, server)
    refusal = kind(told, reason=details.reason, field=details.field, retry_after_seconds=details.retry_after_seconds)
    refusal.__cause__ = error
    if details.reason == "INVALID_TOPOLOGY" and _OTHER_TENSORS.search(told):
        refusal.add_note("is this the network of this file?")
    return refusal


def _kind_of_status(code: grpc.StatusCode, told: str) -> type[RemoteError]:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LONG.search(told):
        return MessageTooLarge
    return STATUSES[code.name]


class _Details:
    """What google.rpc.Status tells beyond the status code."""

    def __init__(self, serialized: object) -> None:
        self.reason: str | None = None
        self.field: str | None = None
        self.retry_after_seconds: float | None = None
        if not isinstance(serialized, bytes):
            return
        with suppress(DecodeError):  # a proxy's own trailer under the same name, or details that only look like ours
            for detail in Status.FromString(serialized).details:
                self._read(detail)

    def _read(self, detail: Any) -> None:
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            if info.domain == ERROR_DOMAIN:
                self.reason = info.reason
        elif detail.Unpack(bad):
            self.field = bad.field_violations[0].field if bad.field_violations else None
        elif detail.Unpack(retry):
            self.retry_after_seconds = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9)


def _seconds(header: object) -> float | None:
    """Return the delay of an HTTP `retry-after` in seconds; None when absent or written as a date."""
    try:
        return max(0.0, float(header)) if isinstance(header, str) else None
    except ValueError:
        return None
