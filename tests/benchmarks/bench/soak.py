"""Many requests of every kind, two at a time, refused and cancelled ones among them: does anything stay behind?"""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from tests.benchmarks.bench.callers import Caller, crew
from tests.benchmarks.bench.checkpoints import matrices, write_checkpoint
from tests.benchmarks.bench.procfs import resident_bytes
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import Scale
from tests.benchmarks.bench.servers import ellq_server, tcp_road

CLIENTS = 2
REASONS = ("NONFINITE_WEIGHT", "INVALID_Q")

Job: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """What was held at the end of a request."""

    ended: float
    server_bytes: int
    client_bytes: int


def run(scale: Scale, folder: Path) -> Iterator[Record]:
    """Yield what the server and one of the clients hold in each quarter of the requests."""
    files = [
        str(write_checkpoint(folder / f"soak{size}.safetensors", list(matrices("F32", size, tensor_bytes=size // 4))))
        for size in scale.soak_bytes
    ]
    jobs = list(_jobs(files, scale.soak_requests, folder))
    road = tcp_road()
    with ellq_server(road, folder) as server, crew([road] * CLIENTS) as callers, ThreadPoolExecutor(CLIENTS) as threads:
        parts = [jobs[number::CLIENTS] for number in range(CLIENTS)]
        sampled = list(threads.map(_soak, callers, parts, [server.pid] * CLIENTS))
    samples = sorted((sample for part in sampled for sample in part), key=lambda sample: sample.ended)
    done = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(job for job, _ in jobs).items()))
    held = {"server": [sample.server_bytes for sample in samples], "a client": [each.client_bytes for each in sampled[0]]}
    for process, held_bytes in held.items():
        yield {"bench": "soak", "case": f"{process}, {len(jobs)} requests", **_growth(held_bytes), "requests": done}


def _jobs(files: list[str], count: int, folder: Path) -> Iterator[Job]:
    """Yield requests in a fixed random order; one in ten is refused, one in ten cancelled."""
    draw = random.Random(2026)
    for number in range(count):
        file = draw.choice(files)
        match number % 10:
            case 3:
                yield "refused", {"reason": draw.choice(REASONS)}
            case 7:
                yield "cancelled", {"file": files[-1]}
            case 0 | 5:
                yield "compress", {"files": [file], "output": str(folder / f"soak-out-{number % CLIENTS}.safetensors")}
            case 1 | 6:
                yield "compress", {"files": [file], "output": None}
            case _:
                yield "analyze", {"files": [file]}


def _soak(caller: Caller, jobs: list[Job], server_pid: int) -> list[Sample]:
    """Do jobs one after the other and sample both processes after each: the client idle, the server perhaps at other work."""
    samples: list[Sample] = []
    for job, fields in jobs:
        told = caller.do(job, **fields)
        if job == "refused":
            assert told["reason"] == fields["reason"], told
        samples.append(Sample(told["ended"], resident_bytes(server_pid), resident_bytes(caller.pid)))
    return samples


def _growth(held_bytes: list[int]) -> dict[str, float]:
    """Return the median of each quarter, and the last to the second: by the second, every pool and cache has filled."""
    quarter = len(held_bytes) // 4
    medians = [median(held_bytes[number * quarter : (number + 1) * quarter]) for number in range(4)]
    named = {f"quarter_{number + 1}_bytes": held for number, held in enumerate(medians)}
    return {**named, "grown_ratio": medians[3] / medians[1]}
