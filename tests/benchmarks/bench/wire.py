"""The real client and the real server over a real socket, in turns with the bare gRPC server over the same kind of socket."""

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench.certificates import make_certificate
from tests.benchmarks.bench.checkpoints import USUAL_TENSOR_BYTES, Dtype, matrices, write_checkpoint
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import Scale
from tests.benchmarks.bench.servers import tcp_road, unix_road
from tests.benchmarks.bench.stages import STREAMS, Case, Stage

ANALYZE = Case("Analyze F32", "analyze", "F32")
COMPRESS = Case("Compress F32 into memory", "compress", "F32", "memory")
CASES = (
    ANALYZE,
    Case("Analyze BF16", "analyze", "BF16"),
    COMPRESS,
    Case("Compress BF16 into memory", "compress", "BF16", "memory"),
    Case("Compress F32 into memory, all bytes back", "compress_whole", "F32", "memory"),
    Case("Compress BF16 into memory, all bytes back", "compress_whole", "BF16", "memory"),
    Case("Compress F32 into a file", "compress", "F32", "file"),
    Case("Analyze F32", "analyze", "F32", streams=STREAMS),
    Case("Compress F32 into memory", "compress", "F32", "memory", streams=STREAMS),
)


def run(scale: Scale, folder: Path) -> Iterator[Record]:
    """Yield the ceilings by size of message, every case over TCP, and the two main ones over other roads."""
    files = _write_files(scale, folder)
    with Stage(tcp_road(), tcp_road(), scale, folder, files) as stage:
        yield from stage.ceilings()
        yield from (stage.measured(case, over="TCP") for case in CASES)
    with Stage(unix_road(folder), unix_road(folder), scale, folder, files) as stage:
        yield from (stage.measured(case, over="a Unix socket") for case in (ANALYZE, COMPRESS))
    certificate = make_certificate(folder)
    with Stage(tcp_road(certificate), tcp_road(certificate), scale, folder, files) as stage:
        yield from (stage.measured(case, over="TLS") for case in (ANALYZE, COMPRESS))


def _write_files(scale: Scale, folder: Path) -> dict[Dtype, Path]:
    dtypes: tuple[Dtype, ...] = ("F32", "BF16")
    return {
        dtype: write_checkpoint(
            folder / f"{dtype}.safetensors", list(matrices(dtype, scale.wire_bytes, tensor_bytes=USUAL_TENSOR_BYTES))
        )
        for dtype in dtypes
    }
