"""What a finished call is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ellq_client.answers import Answer
from ellq_client.certificates import NetworkCertificate, upper
from ellq_client.counting import counted, counted_of
from ellq_client.fitting import layouts_of
from ellq_client.formats import FormatSource
from ellq_client.mirror import mirror, mirror_field
from ellq_client.packing.entropies import PackedSizes
from ellq_client.permissions import ORDINARY
from ellq_client.requests import Request
from ellq_client.rules import Rule, rule_from_proto
from ellq_client.sources import Source
from ellq_client.values import IndexOrders, ReportWarning, Stored, Summary, TensorReport


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The safetensors stream that was sent."""

    name: str
    """File name, or "arrays"."""
    size_bytes: int
    header_sha256: str
    """Digest of the header, its eight length bytes included: names, shapes and dtypes, but no weights."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was measured, tensor by tensor and altogether."""

    request: Request
    """What was asked."""
    source: SourceFile
    """What it was asked about."""
    request_id: str
    """Names the call in the server's logs."""
    version: str
    """Version of the server."""
    header_bytes: int
    payload_bytes: int
    indices: IndexOrders
    rule: Rule | None
    tensors: tuple[TensorReport, ...] = field(repr=False)
    """Every tensor of the source, in offset order."""
    summary: Summary = field(repr=False)
    notes: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Why tensors are left alone or laid out otherwise than (out, in), by name, as far as it is not in the request."""
    not_sent: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What else is in the file, by name, and why nothing of it was sent."""
    permissions: int = field(default=ORDINARY, repr=False, compare=False)
    """Permission bits of the source; what is written of it gets no more, its report neither."""

    @property
    def network(self) -> NetworkCertificate | None:
        """What is promised of the outputs of the whole network; `told()` says it in sentences."""
        return self.summary.network

    @property
    def warnings(self) -> tuple[ReportWarning, ...]:
        """Things to know that are no errors."""
        return self.summary.warnings

    @cached_property
    def _by_name(self) -> dict[str, TensorReport]:
        return {tensor.name: tensor for tensor in self.tensors}

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of a tensor by its name."""
        return self._by_name[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._facts())})"

    def _facts(self) -> list[str]:
        summary = self.summary
        facts = [counted_of(summary.compressible_tensors, summary.tensors, "tensor"), counted(summary.weights, "weight")]
        if summary.global_ is not None:
            facts.append(f"sparsity_index={summary.global_.sparsity_index:.4g}, pq_index={summary.global_.pq_index:.4g}")
        if summary.kept is not None and summary.weights:
            facts.append(f"kept={summary.kept / summary.weights:.1%}")
        if summary.frobenius_ratio is not None:
            facts.append(f"frobenius_ratio<={upper(summary.frobenius_ratio)}")
        grades = () if summary.network is None else summary.network.grades
        facts += [f"{grade.grade} error of {grade.node!r}<={upper(grade.output_error_max)}" for grade in grades]
        if summary.warnings:
            facts.append(counted(len(summary.warnings), "warning"))
        return facts


@dataclass(frozen=True, kw_only=True, repr=False)
class Compression(Analysis):
    """What was measured, cut and certified, and where the weights are."""

    output: Path | None
    """The file that was written; None when the weights came back in memory."""
    weights: Mapping[str, Any] | None
    """The compressed arrays by name, of the kind that was sent (numpy for a file); None when a file was written."""
    packed: PackedSizes | None = None
    """Logical and stored bytes of a packed output, and their order-0 entropy; None for a dense one."""
    stored: Stored | None = None
    """The object that the server wrote; None when the output is on this side."""

    @property
    def place(self) -> str | None:
        """Path or URI of what was written; None when the weights came back in memory."""
        if self.stored is not None:
            return self.stored.uri
        return None if self.output is None else str(self.output)

    def _facts(self) -> list[str]:
        return [*super()._facts(), *([] if self.place is None else [f"output={self.place!r}"])]


def analysis_of(answer: Answer, request: Request, source: Source) -> Analysis:
    """Return the value of a finished answer to Analyze."""
    return Analysis(**_told(answer, request, source))


def compression_of(
    answer: Answer,
    request: Request,
    source: Source,
    *,
    output: Path | None,
    weights: Mapping[str, Any] | None,
    packed: PackedSizes | None = None,
) -> Compression:
    """Return the value of a finished answer to Compress."""
    stored = mirror_field(Stored, answer.summary, "stored")
    return Compression(**_told(answer, request, source), output=output, weights=weights, packed=packed, stored=stored)


def header_digest(header: bytes) -> str:
    """Return the SHA-256 of a header, its length bytes included, in hexadecimal."""
    return sha256(header).hexdigest()


def _told(answer: Answer, request: Request, source: Source) -> dict[str, Any]:
    manifest = answer.manifest
    return {
        "request": request,
        "source": SourceFile(source.name, source.size_bytes, source.header.sha256),
        "request_id": manifest.request_id,
        "version": manifest.version,
        "header_bytes": manifest.header_bytes,
        "payload_bytes": manifest.payload_bytes,
        "indices": mirror(IndexOrders, manifest.indices),
        "rule": rule_from_proto(manifest.rule) if manifest.HasField("rule") else None,
        "tensors": tuple(answer.reports),
        "summary": mirror(Summary, answer.summary),
        "notes": {name: layout.why for name, layout in layouts_of(source).items()},
        "not_sent": source.contents.not_sent if isinstance(source, FormatSource) else {},
        "permissions": source.permissions,
    }
