"""The public surface, frozen; and what importing it costs."""

import subprocess
import sys

import pytest

import ellq_client

SURFACE = [
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

CLIENT_FACE = {"analyze", "capabilities", "close", "compress"}
RUN_FACE = {"close", "result"}


def test_the_surface_is_what_was_promised():
    assert sorted(ellq_client.__all__) == sorted(SURFACE)
    assert all(getattr(ellq_client, name) is not None for name in SURFACE)


def test_names_that_are_not_there_are_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = ellq_client.Klient


@pytest.mark.parametrize(
    ("kind", "face"), [("Client", CLIENT_FACE), ("AsyncClient", CLIENT_FACE), ("Run", RUN_FACE), ("AsyncRun", RUN_FACE)]
)
def test_both_clients_have_the_same_face(kind, face):
    assert {name for name in vars(getattr(ellq_client, kind)) if not name.startswith("_")} == face


def loaded_after(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running the code."""
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return set(found.stdout.splitlines()[-1].split())


def test_importing_the_package_is_free():
    assert not {"grpc", "numpy", "google.protobuf", "rich", "typer"} & loaded_after("import ellq_client")


def command(words: str) -> str:
    """Return the code of a command line, as of a person at a terminal."""
    return (
        f"import sys; sys.argv = ['ellq', *{words.split()!r}]\n"
        "from ellq_client.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end"
    )


@pytest.mark.parametrize("words", ["--help", "--version", "analyze --help", "capabilities --help"])
def test_help_waits_for_nothing_heavy(words):
    assert not {"grpc", "numpy", "google.protobuf", "rich"} & loaded_after(command(words))


def test_nor_does_the_completion_of_a_word(monkeypatch):
    for name, value in {"_ELLQ_COMPLETE": "complete_bash", "COMP_WORDS": "ellq comp", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    assert not {"grpc", "numpy", "google.protobuf", "rich"} & loaded_after(command(""))


def test_the_client_needs_nothing_of_the_server():
    loaded = loaded_after(
        "from ellq_client import *; import ellq_client; [getattr(ellq_client, name) for name in ellq_client.__all__]"
    )
    assert not {"torch", "numba", "pydantic", "prometheus_client", "ellq_server", "ellq_kernels"} & loaded
    assert {"grpc", "numpy", "ellq_math"} <= loaded
