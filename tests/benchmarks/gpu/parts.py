"""Processes with a limit of time, whatever becomes of them: a fault on the card ends one of them and not the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent

LAST_WORDS = 4000
"""Letters of a failed part's output that are kept."""


@dataclass(frozen=True)
class Part:
    """Something to run in a process of its own."""

    name: str
    arguments: list[str]
    """Of this Python."""
    limit_seconds: float
    records: Path | None = None
    """Where it writes records, a line of JSON each."""


@dataclass(frozen=True)
class Ended:
    """How a part ended."""

    name: str
    seconds: float
    why: str
    """What is wrong with it; empty where nothing is."""
    output: str
    """Its last words."""
    records: list[dict[str, Any]] = field(default_factory=list)


def tests_of_kernels(only: str, limit_seconds: float) -> Part:
    """Return the tests that need a card; `only` is pytest's -k, empty for all."""
    chosen = ["-m", "gpu", *(["-k", only] if only else [])]
    folder = ROOT / "tests" / "kernels"
    places = ["-c", str(HERE / "pytest.ini"), "--rootdir", str(ROOT), "--confcutdir", str(folder)]
    return Part("tests", ["-m", "pytest", "-q", "-ra", *places, *chosen, str(folder)], limit_seconds)


def rates_of(size: str, place: int, name: str, folder: Path, limit_seconds: float) -> Part:
    """Return the measurement of one case."""
    file = folder / f"{place}.jsonl"
    return Part(name, ["-m", "tests.benchmarks.gpu.rates", size, str(place), str(file)], limit_seconds, file)


def run(part: Part, *, interpreted: bool) -> Ended:
    """Run a part to its end, or to its limit: then whatever it has started ends with it, a compiler above all."""
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if interpreted else {})
    command = [sys.executable, *part.arguments]
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=part.limit_seconds)
        why = f"ended with {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        why = f"took longer than its {part.limit_seconds:g} seconds"
    except BaseException:  # Ctrl-C does not reach another session
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Ended(part.name, time.perf_counter() - start, why, output[-LAST_WORDS:], _records(part.records))


def _records(file: Path | None) -> list[dict[str, Any]]:
    """Return the records that were written; a last line cut short is none."""
    if file is None or not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
