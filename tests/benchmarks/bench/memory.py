"""The most memory that server and client ever hold for a checkpoint far larger than that."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.bench.callers import Caller
from tests.benchmarks.bench.checkpoints import Tensor, shards, shortage, write_checkpoint
from tests.benchmarks.bench.procfs import peak_bytes
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import MB, Scale
from tests.benchmarks.bench.servers import ellq_server, tcp_road

SERVER_BYTES = 300 * MB
"""What the server may take beside three times the largest tensor."""
CLIENT_BYTES = 200 * MB


def run(scale: Scale, folder: Path) -> Iterator[Record]:
    """Yield the peaks for a checkpoint of each largest tensor."""
    for largest_bytes in scale.largest_bytes:
        files = list(shards(("F32", "BF16"), scale.checkpoint_bytes, count=scale.shards, largest_bytes=largest_bytes))
        yield from _peaks(files, folder)


def _peaks(files: list[list[Tensor]], folder: Path) -> Iterator[Record]:
    size_bytes = sum(tensor.size_bytes for tensors in files for tensor in tensors)
    largest_bytes = max(tensor.size_bytes for tensors in files for tensor in tensors)
    about = f"{size_bytes / 1e9:.2g} GB in {len(files)} files, largest tensor {largest_bytes / 1e6:.0f} MB"
    largest_file_bytes = max(sum(tensor.size_bytes for tensor in tensors) for tensors in files)
    if skipped := shortage(folder, size_bytes + 2 * largest_file_bytes):  # an output, and the next before it takes its place
        yield {"bench": "memory", "case": about, "skipped": skipped}
        return
    place = folder / "checkpoint"
    place.mkdir()
    try:
        paths = [write_checkpoint(place / f"shard{number}.safetensors", tensors) for number, tensors in enumerate(files)]
        for job, fields in (("analyze", {}), ("compress", {"output": str(place / "compressed.safetensors")})):
            peaks = _peak(folder, job, {"files": list(map(str, paths)), **fields})
            yield {
                "bench": "memory",
                "case": f"{job.capitalize()} {about}",
                **peaks,
                "server_used_ratio": peaks["server_peak_bytes"] / (SERVER_BYTES + 3 * largest_bytes),
                "client_used_ratio": peaks["client_peak_bytes"] / CLIENT_BYTES,
            }
    finally:
        shutil.rmtree(place)


def _peak(folder: Path, job: str, fields: dict[str, Any]) -> dict[str, int]:
    """Do a job with processes of its own: a peak never falls."""
    road = tcp_road()
    with ellq_server(road, folder) as server, Caller(road) as caller:
        idle_bytes = peak_bytes(server.pid)
        told = caller.do(job, **fields)
        return {
            "server_idle_bytes": idle_bytes,
            "server_peak_bytes": peak_bytes(server.pid),
            "client_peak_bytes": told["peak_bytes"],
        }
