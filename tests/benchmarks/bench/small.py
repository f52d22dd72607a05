"""What a person waits for: a small request, and a start."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.benchmarks.bench.callers import Caller
from tests.benchmarks.bench.checkpoints import matrices, write_checkpoint
from tests.benchmarks.bench.duels import alternate
from tests.benchmarks.bench.procfs import peak_bytes
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import Scale
from tests.benchmarks.bench.servers import ELLQ, ROOT, bare_server, clean_environment, ellq_server, tcp_road

REQUEST_BYTES = 10_000

_IMPORTS = "import grpc.aio, grpc_health.v1.health, numba, numpy, prometheus_client, pydantic_settings"
"""What no server with these libraries can start without."""


def run(scale: Scale, folder: Path) -> Iterator[Record]:
    """Yield latencies beside a bare echo of the same bytes, then starts beside the imports they cannot do without."""
    yield from _latencies(scale, folder)
    yield from _starts(scale, folder)


def _latencies(scale: Scale, folder: Path) -> Iterator[Record]:
    file = write_checkpoint(folder / "small.safetensors", list(matrices("F32", REQUEST_BYTES, tensor_bytes=REQUEST_BYTES // 2)))
    road, bare = tcp_road(), tcp_road()
    with ellq_server(road, folder), bare_server(bare, folder), Caller(road, bare) as caller:
        seconds: dict[str, list[float]] = caller.do("latencies", file=str(file), count=scale.latencies)["seconds"]
    floor = median(seconds["bare echo"])
    for name, each in seconds.items():
        yield {
            "bench": "latency",
            "case": f"{name}, {REQUEST_BYTES // 1000} kB" if name != "GetCapabilities" else name,
            "median_seconds": median(each),
            "p99_seconds": quantiles(each, n=100, method="inclusive")[98],
            "times_bare_echo": median(each) / floor,
        }


def _starts(scale: Scale, folder: Path) -> Iterator[Record]:
    warm: dict[str, Callable[[], float]] = {
        "ellq serve until SERVING": lambda: _started(folder)[0],
        "its imports alone": lambda: _command_seconds(sys.executable, "-c", _IMPORTS),
        "ellq --help": lambda: _command_seconds(ELLQ, "--help"),
        "python alone": lambda: _command_seconds(sys.executable, "-c", "pass"),
    }
    found = alternate(warm, scale.starts)
    beside = {"ellq serve until SERVING": "its imports alone", "ellq --help": "python alone"}
    for name, seconds in found.items():
        record: Record = {"bench": "start", "case": f"{name}, warm", "median_seconds": median(seconds)}
        if name in beside:
            record["times_floor"] = median(seconds) / median(found[beside[name]])
        yield record
    if scale.cold_start:
        with TemporaryDirectory(dir=folder) as empty:
            seconds, held_bytes = _started(folder, NUMBA_CACHE_DIR=empty)
        case = "ellq serve until SERVING, kernels compiled anew"
        yield {"bench": "start", "case": case, "median_seconds": seconds, "server_peak_bytes": held_bytes}


def _started(folder: Path, **environment: str) -> tuple[float, int]:
    """Return the seconds from exec until a health check says SERVING, and the most memory (bytes) that took."""
    road = tcp_road()
    start = time.perf_counter()
    with ellq_server(road, folder, **environment) as server, grpc.insecure_channel(road.target) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # generated without types
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        return time.perf_counter() - start, peak_bytes(server.pid)


def _command_seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=clean_environment())
    return time.perf_counter() - start
