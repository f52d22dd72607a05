"""What was promised, held against what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.bench.records import Record, Run


@dataclass(frozen=True)
class Target:
    """A limit for one figure of the records of a bench whose case begins like this; the worst of them counts."""

    promise: str
    bench: str
    case: str
    figure: str
    limit: float
    at_least: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a target."""

    target: Target
    measured: float | None
    """None: not in this run."""

    @property
    def met(self) -> bool | None:
        """Whether it was met; None: not in this run."""
        if self.measured is None:
            return None
        return self.measured >= self.target.limit if self.target.at_least else self.measured <= self.target.limit


def _least(promise: str, bench: str, case: str, figure: str, limit: float) -> Target:
    return Target(promise, bench, case, figure, limit, at_least=True)


def _most(promise: str, bench: str, case: str, figure: str, limit: float) -> Target:
    return Target(promise, bench, case, figure, limit, at_least=False)


_SHARE = "device_copy_bandwidth_ratio"
_MASKED = "Compress {} into memory"
_WHOLE = f"{_MASKED}, all bytes back"

TARGETS = (
    _least("Analyze F32: share of what a bare upload reaches", "wire", "Analyze F32, TCP, 1", "ratio", 0.8),
    _least("Analyze BF16: share of what a bare upload reaches", "wire", "Analyze BF16, TCP, 1", "ratio", 0.8),
    _least(
        "Compress F32, all bytes back: share of a bare echo's rate", "wire", f"{_WHOLE.format('F32')}, TCP, 1", "ratio", 0.7
    ),
    _least("Compress BF16, all bytes back: the same", "wire", f"{_WHOLE.format('BF16')}, TCP, 1", "ratio", 0.7),
    _least("Compress F32, masks back: over an echo of all bytes", "wire", f"{_MASKED.format('F32')}, TCP, 1", "ratio", 0.7),
    _least("Compress BF16, masks back: the same", "wire", f"{_MASKED.format('BF16')}, TCP, 1", "ratio", 0.7),
    _least("Index and compression of MiniLM, neuron scope: times faster than plain torch", "sap", "MiniLM neuron", "ratio", 10),
    _least("The same, layer scope", "sap", "MiniLM layer", "ratio", 30),
    _least("The same, global scope", "sap", "MiniLM global", "ratio", 30),
    _least(
        "GPU, statistics of 8192 x 8192: share of copy bandwidth, time on the card",
        "gpu",
        "8192 x 8192, statistics",
        _SHARE,
        0.8,
    ),
    _least("The same of a transformer", "gpu", "transformer, statistics", _SHARE, 0.8),
    _least(
        "GPU, compress of 8192 x 8192: share of copy bandwidth, time on the card", "gpu", "8192 x 8192, compress", _SHARE, 0.5
    ),
    _least("The same of a transformer", "gpu", "transformer, compress", _SHARE, 0.5),
    _most("Server memory: share of 300 MB + 3 x the largest tensor", "memory", "", "server_used_ratio", 1),
    _most("Client memory: share of 200 MB", "memory", "", "client_used_ratio", 1),
    _most("Server memory, last quarter of the soak / second quarter", "soak", "server", "grown_ratio", 1.05),
    _most("Client memory, last quarter of the soak / second quarter", "soak", "a client", "grown_ratio", 1.05),
    _most("Analyze of 10 kB, warm channel: median seconds", "latency", "Analyze", "median_seconds", 0.005),
    _most("`ellq serve` until SERVING, warm: seconds", "start", "ellq serve until SERVING, warm", "median_seconds", 3),
)


def outcomes(run: Run, targets: Sequence[Target] = TARGETS) -> list[Outcome]:
    """Return what came of every target."""
    return [Outcome(target, _worst(target, run.named(target.bench, target.case))) for target in targets]


def _worst(target: Target, records: Sequence[Record]) -> float | None:
    measured = [record[target.figure] for record in records if target.figure in record]
    if not measured:
        return None
    return min(measured) if target.at_least else max(measured)
