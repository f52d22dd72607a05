"""How much is measured."""

from dataclasses import dataclass

MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes in bytes, of whole files unless said otherwise."""

    name: str
    rounds: int
    """Turns that are counted of things that take turns; one more goes before, to warm up."""
    wire_bytes: int
    """Of one call."""
    chunk_bytes: tuple[int, ...]
    """Message sizes that the bare server is tried with."""
    checkpoint_bytes: int
    shards: int
    largest_bytes: tuple[int, ...]
    """Largest tensor of each checkpoint that memory is measured with."""
    soak_requests: int
    soak_bytes: tuple[int, ...]
    latencies: int
    """Requests of each kind."""
    starts: int
    cold_start: bool
    """Whether kernels are compiled anew once, which takes half a minute."""
    growth_bytes: tuple[int, ...]
    growth_memory_bytes: int
    """Most that is compressed into memory."""
    shapes: tuple[tuple[int, ...], ...]
    replicas: tuple[int, ...]


_CHUNKS = tuple(1 << bits for bits in (18, 19, 20, 21, 22))
_SHAPES = ((4096, 4096), (50257, 768), (1, 10**8), (10**6, 16), (512, 512, 3, 3))

FULL = Scale(
    name="full",
    rounds=5,
    wire_bytes=1000 * MB,
    chunk_bytes=_CHUNKS,
    checkpoint_bytes=4096 * MB,
    shards=8,
    largest_bytes=(64 * MB, 512 * MB),
    soak_requests=1000,
    soak_bytes=(10_000, 100_000, MB, 4 * MB, 16 * MB),
    latencies=500,
    starts=5,
    cold_start=True,
    growth_bytes=tuple(4**power * MB for power in range(7)),
    growth_memory_bytes=1024 * MB,
    shapes=_SHAPES,
    replicas=(1, 2, 4),
)

QUICK = Scale(
    name="quick",
    rounds=3,
    wire_bytes=128 * MB,
    chunk_bytes=(1 << 20,),
    checkpoint_bytes=512 * MB,
    shards=4,
    largest_bytes=(64 * MB, 128 * MB),
    soak_requests=200,
    soak_bytes=(10_000, 100_000, MB, 4 * MB),
    latencies=100,
    starts=2,
    cold_start=True,
    growth_bytes=tuple(4**power * MB for power in range(4)),
    growth_memory_bytes=64 * MB,
    shapes=((4096, 4096), (50257, 768), (1, 10**7), (10**6, 16), (512, 512, 3, 3)),
    replicas=(1, 2),
)

TINY = Scale(
    name="tiny",
    rounds=2,
    wire_bytes=2 * MB,
    chunk_bytes=(1 << 20,),
    checkpoint_bytes=4 * MB,
    shards=2,
    largest_bytes=(2 * MB,),
    soak_requests=24,
    soak_bytes=(10_000, 100_000),
    latencies=4,
    starts=1,
    cold_start=False,
    growth_bytes=(100_000, 400_000, 1_600_000),
    growth_memory_bytes=400_000,
    shapes=((64, 64), (1, 10_000)),
    replicas=(1, 2),
)
"""For the test of the benchmark itself; its figures mean nothing."""
