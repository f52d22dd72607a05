"""The card, and what drives it."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata

import torch

PACKAGES = ("torch", "triton", "numpy", "numba")


@dataclass(frozen=True)
class Machine:
    """What decides how fast it is."""

    date: str
    device: str
    driver: str
    cores: int
    versions: dict[str, str]


def this_machine() -> Machine:
    """Return what can be found out; a process that asks for it must not have used the card before."""
    versions = {"python": platform.python_version(), "CUDA": torch.version.cuda or "none"}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "none"
    return Machine(datetime.now(UTC).date().isoformat(), _device(), _driver(), len(os.sched_getaffinity(0)), versions)


def _device() -> str:
    if not torch.cuda.is_available():
        return "no card: Triton's interpreter"
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.multi_processor_count} multiprocessors, {card.total_memory / 1e9:.0f} GB"


def _driver() -> str:
    """Return the driver's version and the highest clocks, as its own tool tells them."""
    asked = "driver_version,clocks.max.sm,clocks.max.mem"
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    version, *clocks = [each.strip() for each in found.strip().splitlines()[0].split(",")]
    return f"{version} (up to {' and '.join(clocks)})" if clocks else version
