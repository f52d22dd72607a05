"""How time grows with bytes, with the shape of tensors, and with replicas."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks.bench.callers import Caller, crew
from tests.benchmarks.bench.checkpoints import USUAL_TENSOR_BYTES, Tensor, matrices, shortage, write_checkpoint
from tests.benchmarks.bench.duels import Trial, alternate, cpu_seconds_a_gb, trial
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import Scale
from tests.benchmarks.bench.servers import Server, ellq_server, tcp_road


def run(scale: Scale, folder: Path) -> Iterator[Record]:
    """Yield sizes, then shapes, both by the first of several servers, then all servers as replicas."""
    with ExitStack() as stack:
        roads = [tcp_road() for _ in range(max(scale.replicas))]
        servers = [stack.enter_context(ellq_server(road, folder)) for road in roads]
        callers = stack.enter_context(crew(roads))
        yield from _sizes(scale, folder, servers[0], callers[0])
        yield from _shapes(scale, folder, servers[0], callers[0])
        yield from _replicas(scale, folder, servers, callers)


def _sizes(scale: Scale, folder: Path, server: Server, caller: Caller) -> Iterator[Record]:
    """Yield every size, and what a straight line explains of them. A file is gone before the next one is written."""
    points: dict[str, list[tuple[int, float]]] = {"analyze": [], "compress": []}
    for size_bytes in scale.growth_bytes:
        if skipped := shortage(folder, size_bytes):
            yield {"bench": "sizes", "case": f"{size_bytes / 1e6:g} MB", "skipped": skipped}
            continue
        tensors = list(matrices("F32", size_bytes, tensor_bytes=USUAL_TENSOR_BYTES))
        jobs = ("analyze", "compress") if size_bytes <= scale.growth_memory_bytes else ("analyze",)
        for job, trials in _in_turns(folder, tensors, server, caller, jobs, scale.rounds).items():
            seconds = median(each.seconds for each in trials)
            points[job].append((trials[0].size_bytes, seconds))
            rate = trials[0].size_bytes / seconds / 1e9
            yield {"bench": "sizes", "case": f"{job} {size_bytes / 1e6:g} MB", "seconds": seconds, "gb_a_second": rate}
    for job, found in points.items():
        yield {"bench": "linearity", "case": job, **line(found)}


def _shapes(scale: Scale, folder: Path, server: Server, caller: Caller) -> Iterator[Record]:
    """Yield every shape, with its rate beside that of the first."""
    first: dict[str, float] = {}
    for shape in scale.shapes:
        tensor = Tensor("layer.weight", "F32", shape)
        for job, trials in _in_turns(folder, [tensor], server, caller, ("analyze", "compress"), scale.rounds).items():
            rate = median(each.gb_a_second for each in trials)
            times = rate / first.setdefault(job, rate)
            name = "x".join(map(str, shape))
            yield {"bench": "shapes", "case": f"{job} {name}", "gb_a_second": rate, "times_first_shape": times}


def _in_turns(
    folder: Path, tensors: Sequence[Tensor], server: Server, caller: Caller, jobs: Sequence[str], rounds: int
) -> dict[str, list[Trial]]:
    path = write_checkpoint(folder / "growth.safetensors", tensors)
    try:
        fields = {"analyze": {"files": [str(path)]}, "compress": {"files": [str(path)], "output": None}}
        return alternate({job: lambda job=job: trial([server], [(caller, job, fields[job])]) for job in jobs}, rounds)
    finally:
        path.unlink()


def _replicas(scale: Scale, folder: Path, servers: Sequence[Server], callers: Sequence[Caller]) -> Iterator[Record]:
    """Yield the rates of several replicas at once, one client process and one call at a time to each, in turns."""
    tensors = list(matrices("F32", scale.wire_bytes, tensor_bytes=USUAL_TENSOR_BYTES))
    fields = {"files": [str(write_checkpoint(folder / "replicas.safetensors", tensors))]}
    contenders = {
        count: lambda count=count: trial(servers[:count], [(caller, "analyze", fields) for caller in callers[:count]])
        for count in scale.replicas
    }
    found = alternate(contenders, scale.rounds)
    cores = len(os.sched_getaffinity(0))
    one = median(each.gb_a_second for each in found[1])
    for count, trials in found.items():
        rate = median(each.gb_a_second for each in trials)
        busy = sum(cpu_seconds_a_gb(trials)) * rate / cores
        yield {
            "bench": "replicas",
            "case": f"{count} of them, analyze",
            "gb_a_second": rate,
            "times_one_replica": rate / one,
            "cores_busy_ratio": busy,
        }


def line(points: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Return the straight line through (bytes, seconds) with the least relative errors, and the worst of them."""
    size_bytes, seconds = (np.array(each, np.float64) for each in zip(*points, strict=True))
    weighted = np.stack([1 / seconds, size_bytes / seconds], axis=1)
    (fixed, a_byte), *_ = np.linalg.lstsq(weighted, np.ones(len(points)), rcond=None)
    worst = np.abs(weighted @ (fixed, a_byte) - 1).max()
    return {"fixed_seconds": float(fixed), "seconds_a_gb": float(a_byte * 1e9), "worst_deviation_ratio": float(worst)}
