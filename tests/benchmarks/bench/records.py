"""What is written down: records of one run, and the machine and versions that it ran on."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]
"""`bench` and `case` name it, `section` is set by the runner; every other key names a figure and its unit: _seconds, _bytes,
_ratio, gb_a_second, ..."""

_PACKAGES = ("ellq", "grpcio", "protobuf", "numpy", "numba")
_FLAGS = ("avx2", "avx512f", "sha_ni")


@dataclass(frozen=True)
class Run:
    """One run of the benchmark."""

    date: str
    scale: str
    machine: dict[str, Any]
    versions: dict[str, str]
    records: list[Record]

    def of(self, section: str) -> list[Record]:
        """Return the records of one section."""
        return [record for record in self.records if record["section"] == section]

    def named(self, bench: str, case: str = "") -> list[Record]:
        """Return the records of one bench whose case begins like this."""
        return [record for record in self.records if record["bench"] == bench and record["case"].startswith(case)]


def this_machine() -> dict[str, Any]:
    """Return what decides its speed."""
    processors = Path("/proc/cpuinfo").read_text()
    flags = _first(processors, "flags").split()
    memory_kb = int(_first(Path("/proc/meminfo").read_text(), "MemTotal").split()[0])
    return {
        "processor": _first(processors, "model name"),
        "extensions": [flag for flag in _FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_kb * 1024 / 1e9, 1),
        "system": platform.system(),
    }


def these_versions() -> dict[str, str]:
    """Return the versions that matter."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def write_run(path: Path, run: Run) -> None:
    """Write a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")


def read_runs(paths: Sequence[Path]) -> Run:
    """Return what was written; of several files, with the records of all and the rest of the first."""
    runs = [Run(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    first = runs[0]
    records = [record for run in runs for record in run.records]
    return Run(first.date, first.scale, first.machine, first.versions, records)


def _first(lines: str, name: str) -> str:
    """Return the value of a `name : value` line; empty when there is none."""
    found = (line.partition(":")[2].strip() for line in lines.splitlines() if line.partition(":")[0].strip() == name)
    return next(found, "")
