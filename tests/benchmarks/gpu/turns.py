"""Medians of actions that take turns, and the device's own account of one."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

TURNS = 9
WARM_UP_TURNS = 2


def in_turns(
    actions: Mapping[str, Callable[[], object]], prepare: Callable[[], None], *, turns: int = TURNS
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the median seconds of each action, one after the other in every turn, and why others could not be measured.

    Seconds are those a caller sees, host work and synchronisation included. An action that raises takes no further turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    failed: dict[str, str] = {}
    for turn in range(WARM_UP_TURNS + turns):
        for name, action in actions.items():
            if name in failed:
                continue
            try:
                prepare()
                synchronise()
                start = time.perf_counter()
                action()
                synchronise()
            except Exception as error:  # whatever it is, the others are still wanted
                failed[name] = f"{type(error).__name__}: {error}"
                continue
            if turn >= WARM_UP_TURNS:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items() if name not in failed}, failed


def kernels_of(action: Callable[[], object], prepare: Callable[[], None]) -> dict[str, float]:
    """Return the seconds that each kernel and copy of an action kept the device busy; nothing without a device.

    Without what travels between host and device: numbers of rows, as many as there are rows.
    """
    if not torch.cuda.is_available():
        return {}
    prepare()
    synchronise()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        action()
        synchronise()
    found = {one.key: one.device_time_total / 1e6 for one in profile.key_averages() if one.device_time_total > 0}
    return {name: taken for name, taken in found.items() if "HtoD" not in name and "DtoH" not in name}


def synchronise() -> None:
    """Wait for the device, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
