"""What large models take, computed from measured rates and stated assumptions.

    time = bytes / the least of:  network, the client's disk, the client's cores, one stream a replica, the replicas' cores
    cost = time x replicas x their price

One stream a replica, because one process does not carry much more over several (see docs/performance.md): one shard of the
checkpoint at a time to each. No CPU replica is taken to be faster than the one that was measured; a GPU replica is taken to
reach what bare gRPC does. Replicas are paid for as long as the job lasts, busy or not.
"""

from dataclasses import dataclass

from tests.benchmarks.bench.records import Run

MODELS = {"70 B": 70e9, "1 T": 1e12}
"""Parameters, of two bytes each."""
REPLICAS = (1, 8, 64)
NETWORKS = (1, 10, 25, 100)
"""Gbit/s of the client's network; each replica has as much."""


@dataclass(frozen=True)
class Assumptions:
    """What was not measured."""

    replica_cores: int = 8
    client_cores: int = 32
    disk_gb_a_second: float = 5.0
    """Of the client, in each direction."""
    core_hour_dollars: tuple[float, float] = (0.02, 0.06)
    gpu_hour_dollars: tuple[float, float] = (2.0, 8.0)
    """Of a replica's card; its host cores are paid besides."""


@dataclass(frozen=True)
class Rates:
    """What was measured, of BF16 weights over TCP."""

    cpu_stream_gb_a_second: float
    """What one stream reached, client and server on the same cores."""
    gpu_stream_gb_a_second: float
    """What one stream of bare gRPC reached uploading: no card can make it faster, and masks on the way back add little."""
    cpu_server_seconds_a_gb: float
    """Processor time of the server."""
    gpu_server_seconds_a_gb: float
    """Processor time of the bare server, uploading: the least that stays with the cores when kernels run on a card."""
    client_seconds_a_gb: float
    """Processor time of the client."""


@dataclass(frozen=True)
class Estimate:
    """How long one job takes, and what it costs."""

    seconds: float
    limited_by: str
    dollars: tuple[float, float]


def rates_of(run: Run, method: str) -> Rates | None:
    """Return the rates of "Analyze" or "Compress"; None when the wire was not measured."""
    case = "Analyze BF16, TCP, 1" if method == "Analyze" else "Compress BF16 into memory, TCP, 1"
    found, uploads = run.named("wire", case), run.named("wire", "Analyze BF16, TCP, 1")
    if not found or not uploads:
        return None
    record, upload = found[0], uploads[0]
    return Rates(
        cpu_stream_gb_a_second=record["gb_a_second"],
        gpu_stream_gb_a_second=upload["ceiling_gb_a_second"],
        cpu_server_seconds_a_gb=record["server_cpu_seconds_a_gb"],
        gpu_server_seconds_a_gb=upload["ceiling_server_cpu_seconds_a_gb"],
        client_seconds_a_gb=record["client_cpu_seconds_a_gb"],
    )


def estimate(
    gigabytes: float, rates: Rates, *, replicas: int, gbit_a_second: float, gpu: bool, assumed: Assumptions
) -> Estimate:
    """Return how long it takes to send so many bytes through, what limits first, and the lower and upper cost."""
    stream = rates.gpu_stream_gb_a_second if gpu else rates.cpu_stream_gb_a_second
    server_seconds = rates.gpu_server_seconds_a_gb if gpu else rates.cpu_server_seconds_a_gb
    limits = {
        "network": gbit_a_second / 8,
        "disk": assumed.disk_gb_a_second,
        "client": assumed.client_cores / rates.client_seconds_a_gb,
        "streams": replicas * stream,
        "replicas": replicas * assumed.replica_cores / server_seconds,
    }
    limited_by = min(limits, key=lambda name: limits[name])
    seconds = gigabytes / limits[limited_by]
    hours = seconds * replicas / 3600
    low, high = (
        hours * (cores * assumed.replica_cores + (card if gpu else 0))
        for cores, card in zip(assumed.core_hour_dollars, assumed.gpu_hour_dollars, strict=True)
    )
    return Estimate(seconds, limited_by, (low, high))
