"""One case from beginning to end, in a process of its own: `python -m tests.benchmarks.gpu.rates SIZE PLACE FILE`.

Weights are on the device before the clock starts and stay there.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ellq_kernels import make_kernels
from ellq_kernels.triton.maker import TritonKernels
from tests.benchmarks.gpu.actions import COPY, SORT, actions_of, bytes_moved
from tests.benchmarks.gpu.agreement import disagreements
from tests.benchmarks.gpu.cases import SIZES, Case, random_weights, restore
from tests.benchmarks.gpu.turns import TURNS, in_turns, kernels_of

Record = dict[str, Any]


def run(quick: bool) -> list[Record]:
    """Return flat records of all cases; none without a card."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing was measured", file=sys.stderr)
        return []
    found = [record for case in SIZES["quick" if quick else "full"] for record in measure_case(case)]
    return [{name: value for name, value in record.items() if name != "kernels"} for record in found]


def measure_case(case: Case, *, turns: int = TURNS) -> Iterator[Record]:
    """Yield a record for each action, or for why there is none; then one for the agreement with the CPU."""
    kernels = make_kernels("triton")
    assert isinstance(kernels, TritonKernels)
    weights = random_weights(case, torch.device(kernels.device))
    originals = [one.bits.clone() for one in weights]
    copies = [bits.clone() for bits in originals]
    actions = actions_of(kernels, weights, copies)

    def prepare() -> None:
        restore(weights, originals)
        for copy, original in zip(copies, originals, strict=True):
            copy.copy_(original)

    seconds, failed = in_turns(actions, prepare, turns=turns)
    busy = {name: tried(lambda name=name: kernels_of(actions[name], prepare), {}) for name in seconds}
    for name, taken in seconds.items():
        yield {"case": case.name, "what": name, "payload_bytes": case.payload_bytes, "seconds": taken} | ratios(
            name, case.payload_bytes, seconds, busy
        )
    yield from ({"case": case.name, "what": name, "failed": why} for name, why in failed.items())
    differing = tried(lambda: disagreements(kernels, weights, originals), ["the comparison itself"])
    yield {"case": case.name, "what": "differs from the CPU", "differing": ", ".join(differing) or "nothing"}


def ratios(action: str, payload_bytes: int, seconds: dict[str, float], busy: dict[str, dict[str, float]]) -> Record:
    """Return how an action compares: by a caller's clock, and by what kept the device busy where that is known."""
    moved, found = bytes_moved(action, payload_bytes), Record()
    if COPY in seconds:
        found["copy_bandwidth_ratio"] = moved / (2 * payload_bytes) * seconds[COPY] / seconds[action]
    if busy[action]:
        on_device = sum(busy[action].values())
        found |= {"device_seconds": on_device, "kernels": busy[action]}
        if busy.get(COPY):
            found["device_copy_bandwidth_ratio"] = moved / (2 * payload_bytes) * sum(busy[COPY].values()) / on_device
    if SORT in seconds and action in ("compress", "one threshold"):
        found["times_faster_than_sort"] = seconds[SORT] / seconds[action]
    return found


def tried(attempt: Callable[[], Any], otherwise: Any) -> Any:
    """Return what an attempt finds; `otherwise`, and say why on stderr, when it fails: the rest is still wanted."""
    try:
        return attempt()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return otherwise


def main(size: str, place: str, file: str) -> None:
    """Write the records of one case down, a line each, as they come."""
    turns = 1 if size == "tiny" else TURNS
    with Path(file).open("w", encoding="utf-8") as lines:
        for record in measure_case(SIZES[size][int(place)], turns=turns):
            print(json.dumps(record), file=lines, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
