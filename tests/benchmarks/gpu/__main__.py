"""Tests the kernels on a card, measures them and writes docs/gpu_results.md, part by part, whatever fails on the way."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.gpu.cases import SIZES
from tests.benchmarks.gpu.machine import this_machine
from tests.benchmarks.gpu.parts import ROOT, Ended, Part, rates_of, run, tests_of_kernels
from tests.benchmarks.gpu.results import write

TEST_SECONDS, CASE_SECONDS = 270.0, 90.0
"""Limits that keep the whole below nine minutes: the tests compile some 350 kernels, half a second each."""


def main(command_line: Sequence[str]) -> int:
    """Return 0 if every part came to a good end."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller tensors")
    parser.add_argument("--interpreted", action="store_true", help="without a card: tiny tensors, by Triton's interpreter")
    parser.add_argument("--only", default="", metavar="EXPRESSION", help="these tests alone, as pytest's -k selects them")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gpu_results.md", help="default: docs/gpu_results.md")
    given = parser.parse_args(command_line)
    size = "tiny" if given.interpreted else "quick" if given.quick else "full"
    machine, ended = this_machine(), list[Ended]()
    with TemporaryDirectory(prefix="ellq-gpu-") as folder:
        for part in parts(size, given.only, Path(folder)):
            print(f"{part.name} ...", flush=True)
            ended.append(run(part, interpreted=given.interpreted))
            print(ended[-1].output, f"{part.name}: {ended[-1].seconds:.0f} s, {ended[-1].why or 'complete'}", flush=True)
            write(given.page, machine, size, ended)
    print(given.page.read_text(encoding="utf-8"))
    return int(any(part.why for part in ended))


def parts(size: str, only: str, folder: Path) -> list[Part]:
    """Return everything that is run: the figures first, because they are sooner had than the tests."""
    cases = [rates_of(size, place, case.name, folder, CASE_SECONDS) for place, case in enumerate(SIZES[size])]
    return [*cases, tests_of_kernels(only, TEST_SECONDS)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
