"""Tells how compressible a network's weights are, compresses them, and shows what that costs.

    from ellq_client import Client, SparsityIndex

    with Client("localhost:50051") as client:
        print(client.compress("model.safetensors", "small.safetensors", rule=SparsityIndex(q=0.5)).result())

Names are loaded when they are first used, so that `ellq --help` does not wait for gRPC and numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ellq_client.errors import (
    AccessDenied,
    Busy,
    Cancelled,
    CertificateRefuted,
    ClaimRefuted,
    DeadlineExceeded,
    EllqError,
    ExtraMissing,
    InvalidNetwork,
    InvalidOutput,
    InvalidReference,
    InvalidRequest,
    InvalidRule,
    InvalidSelection,
    InvalidSketch,
    MalformedWeights,
    MessageTooLarge,
    NonfiniteWeight,
    OutputError,
    ProtocolError,
    RemoteError,
    ReportError,
    ServerDefect,
    ServerExtraMissing,
    ServerUnusable,
    SourceError,
    TlsFailure,
    TooLarge,
    Unavailable,
    UnderivableNetwork,
    Unsupported,
)

if TYPE_CHECKING:
    from ellq_client.aio import AsyncClient, AsyncRun
    from ellq_client.certificates import NetworkCertificate
    from ellq_client.client import Client, Run
    from ellq_client.empirical import EmpiricalCertificate, empirical_certificate
    from ellq_client.packing.entropies import PackedSizes
    from ellq_client.repacking import load_packed, pack, unpack
    from ellq_client.report import FolderCompression, write_report
    from ellq_client.requests import Override
    from ellq_client.results import Analysis, Compression
    from ellq_client.rules import ErrorBudget, Fraction, Lasso, LqBound, NOfM, PqIndex, Rule, SparsityIndex, Tail
    from ellq_client.tls import Tls
    from ellq_client.values import Capabilities, Stored, Summary, TensorReport
    from ellq_client.verifying import Verification, verify

__all__ = [
    "AccessDenied",
    "Analysis",
    "AsyncClient",
    "AsyncRun",
    "Busy",
    "Cancelled",
    "Capabilities",
    "CertificateRefuted",
    "ClaimRefuted",
    "Client",
    "Compression",
    "DeadlineExceeded",
    "EllqError",
    "EmpiricalCertificate",
    "ErrorBudget",
    "ExtraMissing",
    "FolderCompression",
    "Fraction",
    "InvalidNetwork",
    "InvalidOutput",
    "InvalidReference",
    "InvalidRequest",
    "InvalidRule",
    "InvalidSelection",
    "InvalidSketch",
    "Lasso",
    "LqBound",
    "MalformedWeights",
    "MessageTooLarge",
    "NOfM",
    "NetworkCertificate",
    "NonfiniteWeight",
    "OutputError",
    "Override",
    "PackedSizes",
    "PqIndex",
    "ProtocolError",
    "RemoteError",
    "ReportError",
    "Rule",
    "Run",
    "ServerDefect",
    "ServerExtraMissing",
    "ServerUnusable",
    "SourceError",
    "SparsityIndex",
    "Stored",
    "Summary",
    "Tail",
    "TensorReport",
    "Tls",
    "TlsFailure",
    "TooLarge",
    "Unavailable",
    "UnderivableNetwork",
    "Unsupported",
    "Verification",
    "empirical_certificate",
    "load_packed",
    "pack",
    "unpack",
    "verify",
    "write_report",
]

_LAZY = {
    "AsyncClient": "aio",
    "AsyncRun": "aio",
    "Client": "client",
    "Run": "client",
    "Override": "requests",
    "PackedSizes": "packing.entropies",
    "load_packed": "repacking",
    "pack": "repacking",
    "unpack": "repacking",
    "Analysis": "results",
    "Compression": "results",
    "NetworkCertificate": "certificates",
    "EmpiricalCertificate": "empirical",
    "empirical_certificate": "empirical",
    "ErrorBudget": "rules",
    "Fraction": "rules",
    "Lasso": "rules",
    "LqBound": "rules",
    "NOfM": "rules",
    "PqIndex": "rules",
    "Rule": "rules",
    "SparsityIndex": "rules",
    "Tail": "rules",
    "Tls": "tls",
    "Capabilities": "values",
    "Stored": "values",
    "Summary": "values",
    "TensorReport": "values",
    "Verification": "verifying",
    "verify": "verifying",
    "FolderCompression": "report",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module, once."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
