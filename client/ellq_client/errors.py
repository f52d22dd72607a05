"""Everything that can go wrong, and whose move it is.

EllqError
├── RemoteError                 what a server, or the road to it, answered instead of a result
│   ├── InvalidRequest          change the request; names the field
│   │   ├── InvalidRule         a rule, scope or number out of range
│   │   ├── InvalidSelection    a glob, an override, a neuron axis
│   │   ├── InvalidSketch       global scope and its sketches
│   │   ├── InvalidNetwork      a network, its inputs or moments: wrong, or missing where they are needed
│   │   ├── MalformedWeights    the bytes are no whole safetensors file
│   │   ├── NonfiniteWeight     NaN or infinity in a compressible tensor
│   │   ├── InvalidReference    a URI that the server does not open, or an object that it cannot read or write
│   │   ├── TooLarge            beyond this server's stated limits, for ever
│   │   └── MessageTooLarge     one message is longer than gRPC lets through
│   ├── AccessDenied            the server, or something before it, wants other credentials
│   ├── TlsFailure              no trusted connection: certificates, names or files do not fit
│   ├── Unsupported             this server does not know the call
│   ├── Busy                    come back later; may say when
│   ├── Unavailable             no server answers, or it is shutting down
│   ├── DeadlineExceeded        give it more time, or less to do
│   ├── Cancelled               the call was cancelled
│   └── ServerDefect            nothing the caller did
│       └── CertificateRefuted  the server's own re-check failed
├── ProtocolError               the answer breaks the contract; nothing of it may be used
├── SourceError                 the weights cannot be read here
│   └── UnderivableNetwork      no network or moments can be derived from this module or model
├── OutputError                 the result cannot be written here
│   └── InvalidOutput           not at this place or under this name; name another
├── ReportError                 a report file that cannot be read
├── ServerUnusable              the server to run in this process cannot start
│   └── ServerExtraMissing      because it is not installed
├── ExtraMissing                a package that only this needs is not installed
└── ClaimRefuted                verify found a false claim

An error that began as a gRPC error has it as `__cause__`.
"""

__all__ = [
    "REASONS",
    "STATUSES",
    "AccessDenied",
    "Busy",
    "Cancelled",
    "CertificateRefuted",
    "ClaimRefuted",
    "DeadlineExceeded",
    "EllqError",
    "ExtraMissing",
    "InvalidNetwork",
    "InvalidOutput",
    "InvalidReference",
    "InvalidRequest",
    "InvalidRule",
    "InvalidSelection",
    "InvalidSketch",
    "MalformedWeights",
    "MessageTooLarge",
    "NonfiniteWeight",
    "OutputError",
    "ProtocolError",
    "RemoteError",
    "ReportError",
    "ServerDefect",
    "ServerExtraMissing",
    "ServerUnusable",
    "SourceError",
    "TlsFailure",
    "TooLarge",
    "Unavailable",
    "UnderivableNetwork",
    "Unsupported",
]


class EllqError(Exception):
    """The root: catch this to catch everything this package raises on purpose."""


class RemoteError(EllqError):
    """What a server, or the road to it, answered instead of a result."""

    reason: str | None
    """Name of an ErrorReason without its prefix, such as "INVALID_Q". None: the server gave none."""
    field: str | None
    """Path of the offending field, such as "rule.sparsity_index.q", or None."""
    retry_after_seconds: float | None
    """When the server asks to come back; None when it does not say."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message if field is None or field in message else f"{field}: {message}")
        self.reason = reason
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(RemoteError):
    """The request must change before it can succeed."""


class InvalidRule(InvalidRequest):
    """No rule, an unknown one, or one of its numbers is out of range."""


class InvalidSelection(InvalidRequest):
    """A glob, an override or a neuron axis does not fit."""


class InvalidSketch(InvalidRequest):
    """A sketch is missing, not final, or belongs to another request."""


class InvalidNetwork(InvalidRequest):
    """A network does not hold together, its inputs or moments contradict themselves, or one of them is missing."""


class MalformedWeights(InvalidRequest):
    """The bytes are no whole safetensors file; the message says what is wrong with them."""


class NonfiniteWeight(InvalidRequest):
    """NaN or infinity in a compressible tensor; the message names tensor and index."""


class InvalidReference(InvalidRequest):
    """A URI that the server does not open, or an object that it cannot read or write there; the message names it."""


class TooLarge(InvalidRequest):
    """Beyond the limits that `capabilities()` states, however often it is tried."""


class MessageTooLarge(InvalidRequest):
    """One message, of options or of the answer, is longer than gRPC lets through: fewer globs, overrides or neurons."""


class AccessDenied(RemoteError):
    """The server, or a proxy before it, wants other credentials."""


class TlsFailure(RemoteError):
    """No trusted connection can be made; the message says which certificate, name or file to change."""


class Unsupported(RemoteError):
    """The server does not know this call: it is another service or an older version."""


class Busy(RemoteError):
    """The server has no room now."""


class Unavailable(RemoteError):
    """No server answers at that address, or it is shutting down."""


class DeadlineExceeded(RemoteError):
    """The time given to the call is over."""


class Cancelled(RemoteError):
    """The call was cancelled, here or by the server."""


class ServerDefect(RemoteError):
    """A defect of the server or of the road to it."""


class CertificateRefuted(ServerDefect):
    """The server's own re-check of a certificate failed."""


class ProtocolError(EllqError):
    """The server's answer breaks the contract: wrong order, count, length or digest."""


class SourceError(EllqError):
    """The weights cannot be read on this side."""


class UnderivableNetwork(SourceError):
    """No network or moments can be derived from this module or model; the network can still be described by hand."""


class OutputError(EllqError):
    """The result cannot be written on this side."""


class InvalidOutput(OutputError):
    """Nothing is wrong with the disk: the result must not, or cannot, go to this place or under this name."""


class ReportError(EllqError):
    """A report file is no report that this version can read."""


class ServerUnusable(EllqError):
    """The server to run in this process cannot start; the message says why."""


class ServerExtraMissing(ServerUnusable):
    """The server to run in this process is not installed."""


class ExtraMissing(EllqError):
    """A package that only this function needs is not installed; the message says which extra brings it."""


class ClaimRefuted(EllqError):
    """A claim about a compressed file is false."""

    tensor: str | None
    """Name of the tensor the claim is about; None for a claim about the whole file."""
    claim: str
    """Which claim, as a path into the report, such as "certificate.frobenius"."""
    claimed: object
    """What the report says."""
    found: object
    """What the two files say."""

    def __init__(
        self, claim: str, *, claimed: object, found: object, tensor: str | None = None, likely: str | None = None
    ) -> None:
        where = "" if tensor is None else f"tensor {tensor!r}: "
        first = "" if likely is None else f"{likely}: "
        super().__init__(f"{first}{where}{claim} is claimed to be {claimed}, found {found}")
        self.tensor = tensor
        self.claim = claim
        self.claimed = claimed
        self.found = found


REASONS: dict[str, type[RemoteError]] = {
    "EMPTY_FRAME": ServerDefect,  # this client never sends such a stream: what the server saw was damaged on the way
    "MISSING_OPTIONS": ServerDefect,
    "REPEATED_OPTIONS": ServerDefect,
    "INVALID_RULE": InvalidRule,
    "INVALID_SCOPE": InvalidRule,
    "INVALID_Q": InvalidRule,
    "INVALID_P": InvalidRule,
    "INVALID_ETA": InvalidRule,
    "INVALID_GAMMA": InvalidRule,
    "INVALID_BETA": InvalidRule,
    "INVALID_EPSILON": InvalidRule,
    "INVALID_RATIO": InvalidRule,
    "INVALID_GROUP": InvalidRule,
    "INVALID_GLOB": InvalidSelection,
    "INVALID_OVERRIDE": InvalidSelection,
    "INVALID_NEURON_AXIS": InvalidSelection,
    "INVALID_ENUM": InvalidRequest,
    "INVALID_SKETCH": InvalidSketch,
    "SKETCH_REQUIRED": InvalidSketch,
    "MALFORMED_WEIGHTS": MalformedWeights,
    "TRUNCATED_STREAM": MalformedWeights,
    "TRAILING_BYTES": MalformedWeights,
    "NONFINITE_WEIGHT": NonfiniteWeight,
    "HEADER_TOO_LARGE": TooLarge,
    "TOO_MANY_TENSORS": TooLarge,
    "TENSOR_TOO_LARGE": TooLarge,
    "PAYLOAD_TOO_LARGE": TooLarge,
    "MOMENTS_TOO_LARGE": TooLarge,
    "NETWORK_TOO_LARGE": TooLarge,
    "BUSY": Busy,
    "DRAINING": Unavailable,
    "CERTIFICATE_REFUTED": CertificateRefuted,
    "DEFECT": ServerDefect,
    "INVALID_TOPOLOGY": InvalidNetwork,
    "INVALID_INPUTS": InvalidNetwork,
    "INVALID_MOMENTS": InvalidNetwork,
    "INVALID_BUDGET": InvalidRule,
    "TOPOLOGY_REQUIRED": InvalidNetwork,
    "INPUTS_REQUIRED": InvalidNetwork,
    "MOMENTS_REQUIRED": InvalidNetwork,
    "REFERENCES_OFF": InvalidReference,
    "INVALID_URI": InvalidReference,
    "URI_NOT_ALLOWED": InvalidReference,
    "OBJECT_NOT_FOUND": InvalidReference,
    "OBJECT_CHANGED": InvalidReference,
    "STORE_DENIED": InvalidReference,
    "STORE_UNAVAILABLE": Unavailable,
    "OUTPUT_EXISTS": InvalidReference,
    "UNEXPECTED_DATA": ServerDefect,  # this client never sends such a stream
}
"""Which error each reason of the contract becomes."""

STATUSES: dict[str, type[RemoteError]] = {
    "OK": ServerDefect,  # an error that calls itself OK
    "CANCELLED": Cancelled,
    "UNKNOWN": ServerDefect,
    "INVALID_ARGUMENT": InvalidRequest,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": Unsupported,
    "ALREADY_EXISTS": ServerDefect,
    "PERMISSION_DENIED": AccessDenied,
    "UNAUTHENTICATED": AccessDenied,
    "RESOURCE_EXHAUSTED": Busy,
    "FAILED_PRECONDITION": InvalidRequest,
    "ABORTED": Unavailable,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": Unsupported,
    "INTERNAL": ServerDefect,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": ServerDefect,
}
"""Which error each gRPC status becomes when no reason comes with it."""
