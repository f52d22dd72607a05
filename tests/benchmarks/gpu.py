"""How near the GPU kernels come to the bandwidth of the device.

`python -m tests.benchmarks.gpu [--quick]`, on a machine with a card.

Weights are on the device before the clock starts and stay there. Times are those a caller sees, host work and synchronisation
included. Everything compared is measured in turns, in one run; figures are medians over the turns.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton

from ellq_kernels import make_kernels
from ellq_kernels.triton.maker import TritonKernels
from ellq_kernels.triton.weights import TritonWeights

RESULTS = Path(__file__).parents[2] / "docs" / "gpu_results.json"

TURNS = 9
WARM_UP_TURNS = 2
ORDERS = {"q = 1/2 and 1": (0.5, 1.0), "1 and 2": (1.0, 2.0), "four orders": (0.3, 0.5, 1.0, 2.0)}
PRUNED_RATIO = 0.5

Shape = tuple[int, int]

LAYER: list[Shape] = [(2048, 2048)] * 2 + [(512, 2048)] * 2 + [(8192, 2048)] * 2 + [(2048, 8192)] + [(1, 2048)] * 2
"""One block of a transformer of a billion weights: attention, projections, norms."""


@dataclass(frozen=True)
class Case:
    """Tensors that one launch serves."""

    name: str
    shapes: list[Shape]

    @property
    def payload_bytes(self) -> int:
        """Bytes of all weights, in BF16."""
        return sum(2 * neurons * fan_in for neurons, fan_in in self.shapes)


CASES = [Case("8192 x 8192", [(8192, 8192)]), Case("transformer", LAYER * 16 + [(128256, 2048)])]
QUICK_CASES = [Case("1024 x 8192", [(1024, 8192)]), Case("one block", LAYER)]


def run(quick: bool) -> list[dict[str, Any]]:
    """Return flat records of all cases; none without a card."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing was measured")
        return []
    kernels = make_kernels("triton")
    assert isinstance(kernels, TritonKernels)
    device = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    measured = [record for case in (QUICK_CASES if quick else CASES) for record in measure_case(kernels, case)]
    return [{"date": datetime.now(UTC).date().isoformat()} | device | record for record in measured]


def measure_case(kernels: TritonKernels, case: Case) -> list[dict[str, Any]]:
    """Return the records of one case: copying, statistics of several orders, compression, and compression by sorting."""
    weights = [random_weights(kernels, shape, seed=place) for place, shape in enumerate(case.shapes)]
    originals = [one.bits.clone() for one in weights]
    copies = [torch.empty_like(bits) for bits in originals]
    source = torch.zeros(case.payload_bytes, dtype=torch.uint8, device=weights[0].device)
    target = torch.empty_like(source)  # all bytes in one copy, which no list of small ones can beat
    actions: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    for name, orders in ORDERS.items():
        actions[f"statistics, {name}"] = lambda orders=orders: kernels.measure_many(weights, orders)
    actions["compress"] = lambda: compress(kernels, weights)
    actions["compress by torch.sort"] = lambda: [compress_by_sorting(bits) for bits in copies]
    seconds = in_turns(actions, lambda: restore(weights, originals, copies))
    same = masks_agree(kernels, weights, originals)
    copied = 2 * case.payload_bytes / seconds["copy"]  # read and written
    return [
        record_of(case, name, taken, copied=copied, sorting=seconds["compress by torch.sort"]) | {"masks_agree": same}
        for name, taken in seconds.items()
    ]


def record_of(case: Case, name: str, seconds: float, *, copied: float, sorting: float) -> dict[str, Any]:
    """Return the record of one action; statistics read each weight once, all else reads and writes it once."""
    moved = case.payload_bytes * (1 if name.startswith("statistics") else 2)
    ratios = {"copy_bandwidth_ratio": moved / seconds / copied, "times_faster_than_sort": sorting / seconds}
    return {"case": case.name, "what": name, "payload_bytes": case.payload_bytes, "seconds": seconds} | ratios


def in_turns(actions: dict[str, Callable[[], object]], prepare: Callable[[], None]) -> dict[str, float]:
    """Return the median seconds of each action, measured one after the other in every turn."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(WARM_UP_TURNS + TURNS):
        for name, action in actions.items():
            prepare()
            synchronise()
            start = time.perf_counter()
            action()
            synchronise()
            if turn >= WARM_UP_TURNS:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def synchronise() -> None:
    """Wait for the device, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_weights(kernels: TritonKernels, shape: Shape, *, seed: int) -> TritonWeights:
    """Return weights as trained networks have them, in BF16."""
    values = np.random.default_rng(seed).normal(0.0, 0.02, shape).astype(np.float32)
    payload = bytearray((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    return kernels.load(payload, dtype="BF16", neurons=shape[0], fan_in=shape[1])


def restore(weights: Sequence[TritonWeights], originals: Sequence[torch.Tensor], copies: Sequence[torch.Tensor]) -> None:
    """Undo every cut."""
    for one, original, copy in zip(weights, originals, copies, strict=True):
        one.bits.copy_(original)
        copy.copy_(original)
        one.choice.forget()


def counts_of(neurons: int, fan_in: int) -> np.ndarray:
    """Return how many weights stay of each row."""
    return np.full((neurons, 1), fan_in - int(PRUNED_RATIO * fan_in))


def compress(kernels: TritonKernels, weights: Sequence[TritonWeights]) -> None:
    """Choose and apply, for all tensors at once."""
    kept = [counts_of(one.neurons, one.fan_in) for one in weights]
    kernels.apply_many(weights, kernels.keep_largest_many(weights, kept, [one.fan_in for one in weights]))


def compress_by_sorting(bits: torch.Tensor) -> None:
    """Keep the same weights by a stable sort of every row; in place, without certificate sums."""
    kept = int(counts_of(*bits.shape)[0, 0])
    order = (bits & 0x7FFF).sort(dim=1, descending=True, stable=True).indices
    bits.scatter_(1, order[:, kept:], 0)


def masks_agree(kernels: TritonKernels, weights: Sequence[TritonWeights], originals: Sequence[torch.Tensor]) -> bool:
    """Return whether the device cuts, and certifies, the last tensor of each shape to the same bits as the CPU maker."""
    cpu = make_kernels("cpu")
    by_shape = {tuple(bits.shape): (one, bits) for one, bits in zip(weights, originals, strict=True)}
    for shape, (one, original) in by_shape.items():
        restore([one], [original], [original.clone()])
        neurons, fan_in = shape
        payload = bytearray(original.cpu().numpy().tobytes())
        there = cpu.load(payload, dtype="BF16", neurons=neurons, fan_in=fan_in)
        found, expected = (
            maker.apply(held, maker.keep_largest(held, counts_of(neurons, fan_in), width=fan_in))
            for maker, held in ((kernels, one), (cpu, there))
        )
        certified = all(getattr(found, sums).tobytes() == getattr(expected, sums).tobytes() for sums in ("l1", "l2_squared"))
        if not certified or kernels.payload(one) != cpu.payload(there):
            return False
    return True


def main() -> None:
    """Measure, print and, where there is a card, write the results down."""
    records = run(quick="--quick" in sys.argv)
    for record in records:
        print(f"{record['case']:>12}  {record['what']:<26} {record['copy_bandwidth_ratio']:.2f} of the copy bandwidth")
    if records:
        RESULTS.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
