"""The report: everything that was asked, measured and certified, as a JSON file that `verify` can hold against the weights.

Format: docs/report.md, and report.schema.json beside this file.
"""

import json
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ellq_client.errors import ReportError
from ellq_client.plain import from_plain, to_plain
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression, SourceFile
from ellq_client.sinks import PartialFile, check_place
from ellq_client.values import IndexOrders, Summary, TensorReport

SCHEMA = "ellq.report/2"
"""Name and version of the format. A new field is a new version, because readers refuse what they do not know."""


@dataclass(frozen=True)
class Tool:
    """The program that wrote the report."""

    name: str
    version: str


@dataclass(frozen=True)
class ServerCall:
    """The call that the report tells of."""

    version: str
    request_id: str


@dataclass(frozen=True)
class OutputFile:
    """The file that was written: the header of the source, and as many bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Report:
    """A report as a value."""

    schema: str
    method: str
    """"analyze" or "compress"."""
    tool: Tool
    server: ServerCall
    request: Request
    indices: IndexOrders
    """The orders of the indices, with defaults filled in."""
    source: SourceFile
    output: OutputFile | None
    tensors: tuple[TensorReport, ...]
    summary: Summary


def tool_version() -> str:
    """Return the version of this package."""
    try:
        return version("ellq")
    except PackageNotFoundError:
        return "unknown"


def report_of(result: Analysis) -> Report:
    """Return the report of a finished call."""
    output = None
    if isinstance(result, Compression) and result.output is not None:
        output = OutputFile(result.output.name, result.header_bytes + result.payload_bytes)
    return Report(
        schema=SCHEMA,
        method="compress" if isinstance(result, Compression) else "analyze",
        tool=Tool("ellq", tool_version()),
        server=ServerCall(result.version, result.request_id),
        request=result.request,
        indices=result.indices,
        source=result.source,
        output=output,
        tensors=result.tensors,
        summary=result.summary,
    )


def report_text(result: Analysis) -> str:
    """Return the report of a finished call as JSON. Numbers are written so that they read back the same."""
    return json.dumps(to_plain(report_of(result)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_report(result: Analysis, path: str | os.PathLike[str]) -> None:
    """Write the report of a finished call, replacing what was there in one instant. Errors: OutputError."""
    check_place(Path(path))
    file = PartialFile(Path(path))
    try:
        file.restart()
        file.write(report_text(result).encode())
        file.commit()
    finally:
        file.discard()


def read_report(path: Path) -> Report:
    """Return the report in a file. Errors: ReportError."""
    try:
        plain: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not JSON: {error}") from error
    schema = plain.get("schema") if isinstance(plain, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if schema != SCHEMA:
        raise ReportError(f"{path} is no report of schema {SCHEMA!r}, but {schema!r}")
    return from_plain(Report, plain, path="report")
