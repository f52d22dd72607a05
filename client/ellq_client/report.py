"""The report: everything that was asked, measured and certified, as a JSON file that `verify` can hold against the weights.

Format: docs/report.md, and report.schema.json beside this file.
"""

import json
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ellq_client.errors import ReportError
from ellq_client.packing.entropies import PackedSizes
from ellq_client.partial_file import write_file
from ellq_client.plain import from_plain, to_plain
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression, SourceFile
from ellq_client.uris import AnyPath
from ellq_client.values import IndexOrders, Summary, TensorReport

SCHEMA = "ellq.report/2"
"""Name and version of the format. A new field is a new version, because readers refuse what they do not know."""

FOLDER_SCHEMA = "ellq.folder-report/2"
"""The same of the report of a folder, which holds such reports."""


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
    """Of a packed file: when it is unpacked."""
    packed: PackedSizes | None = None
    """Of a packed file its sizes; of the part of a folder, those of its shards together. None: the file is dense."""


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


@dataclass(frozen=True)
class Part:
    """What one call did to some shards of a folder."""

    shards: tuple[str, ...]
    """Their names; together they are the stream that the report tells of."""
    report: Report
    """Without the id of the call and its timings: a part that is made again has the same report."""


@dataclass(frozen=True)
class FolderReport:
    """A report of a folder as a value."""

    schema: str
    method: str
    """"compress"."""
    tool: Tool
    source: str
    """Name of the folder."""
    fingerprint: str
    """SHA-256 of what was asked and of which files: their names, sizes, times and headers, but no weights."""
    summary: Summary
    """Of all parts together: without timings and, of several parts, without indices of all tensors as one row."""
    parts: tuple[Part, ...]
    """In the order of the shards."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FolderCompression(Compression):
    """A folder that was compressed: every tensor of every shard, and the totals. `output` is the new folder.

    `request_id` is empty, because there are as many calls as parts. `summary` is that of the report: without timings and, of
    several parts, without indices of all tensors as one row, which `analyze` of the folder has.
    """

    folder: FolderReport
    confirmed: bool = field(default=False, compare=False)
    """Whether the output was finished already: it was checked, byte for byte, and nothing was done."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What each call did."""
        return self.folder.parts


def tool_version() -> str:
    """Return the version of this package."""
    try:
        return version("ellq")
    except PackageNotFoundError:
        return "unknown"


def this_tool() -> Tool:
    """Return the program that writes reports here."""
    return Tool("ellq", tool_version())


def report_of(result: Analysis) -> Report:
    """Return the report of a finished call."""
    output = None
    if isinstance(result, Compression) and result.output is not None:
        output = OutputFile(result.output.name, result.header_bytes + result.payload_bytes, result.packed)
    elif isinstance(result, Compression) and result.stored is not None:
        output = OutputFile(result.stored.uri, result.stored.length_bytes)
    return Report(
        schema=SCHEMA,
        method="compress" if isinstance(result, Compression) else "analyze",
        tool=this_tool(),
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
    told = result.folder if isinstance(result, FolderCompression) else report_of(result)
    return plain_text(told)


def plain_text(report: Report | FolderReport) -> str:
    """Return a report as JSON. What of a name is not UTF-8 is escaped as JSON does it, so that it reads back the same."""
    text = json.dumps(to_plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def write_report(result: Analysis, path: AnyPath, *, replace: bool = True) -> None:
    """Write the report of a finished call, replacing what was there in one instant. Errors: OutputError.

    Without `replace` what is there stays, and that is an error.
    """
    write_file(Path(path), [report_text(result).encode()], permissions=result.permissions, replace=replace)


def read_report(path: Path) -> Report:
    """Return the report in a file. Errors: ReportError."""
    return from_plain(Report, _read(path, SCHEMA), path="report")


def read_folder_report(path: Path) -> FolderReport:
    """Return the report of a folder in a file. Errors: ReportError."""
    return from_plain(FolderReport, _read(path, FOLDER_SCHEMA), path="report")


def _read(path: Path, expected: str) -> Any:
    try:
        plain: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not JSON: {error}") from error
    schema = plain.get("schema") if isinstance(plain, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if schema != expected:
        raise ReportError(f"{path} is no report of schema {expected!r}, but {schema!r}")
    return plain  # pyright: ignore[reportUnknownVariableType]
