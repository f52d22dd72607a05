"""Runs the benchmarks: python -m tests.benchmarks.bench [SECTION...] [--quick] [--docs]."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from tests.benchmarks.bench import growth, memory, small, soak, tables, wire
from tests.benchmarks.bench.records import Record, Run, read_runs, these_versions, this_machine, write_run
from tests.benchmarks.bench.scales import FULL, QUICK, Scale
from tests.benchmarks.bench.servers import ROOT, ellq_server, tcp_road
from tests.benchmarks.degradation.page import fill

Section: TypeAlias = Callable[[Scale, Path], Iterable[Record]]


def _kernels(scale: Scale, folder: Path) -> Iterable[Record]:
    return import_module("tests.benchmarks.kernels").run(quick=scale is not FULL)  # imports torch: not before it is wanted


def _gpu(scale: Scale, folder: Path) -> Iterable[Record]:
    if not find_spec("triton"):
        print("gpu: triton is not installed, nothing was measured", file=sys.stderr)
        return []
    records = import_module("tests.benchmarks.gpu.rates").run(quick=scale is not FULL)
    return [{**record, "bench": "gpu", "case": f"{record['case']}, {record['what']}"} for record in records]


SECTIONS: dict[str, Section] = {
    "wire": wire.run,
    "memory": memory.run,
    "soak": soak.run,
    "small": small.run,
    "growth": growth.run,
    "kernels": _kernels,
    "gpu": _gpu,
}


def main(command_line: Sequence[str]) -> int:
    """Return 0; what has been measured is on the disk after every section."""
    arguments = read_arguments(command_line)
    # SIGTERM as an exception, so that servers, clients and files go whatever ends the run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if arguments.read:
        run = read_runs(arguments.read)
    else:
        keep_kernels()
        run = measure(arguments.sections or list(SECTIONS), QUICK if arguments.quick else FULL, arguments.json)
    page = tables.page(run, SECTIONS)
    write_markdown(arguments.markdown, page)
    if arguments.docs:
        fill(ROOT / "docs" / "performance.md", page)
    print(arguments.markdown.read_text(encoding="utf-8"))
    return 0


def keep_kernels() -> None:
    """Start a server once: where no compiled kernels are kept yet, they are now, and no section pays for it."""
    with TemporaryDirectory(prefix="ellq-bench-") as folder, ellq_server(tcp_road(), Path(folder)):
        pass


def measure(sections: Sequence[str], scale: Scale, path: Path) -> Run:
    """Run the sections and write down their records."""
    run = Run(date.today().isoformat(), scale.name, this_machine(), these_versions(), [])
    for name in sections:
        start = time.perf_counter()
        with TemporaryDirectory(prefix="ellq-bench-") as folder:
            records = [{"section": name, **record} for record in SECTIONS[name](scale, Path(folder))]
        run.records.extend(records)
        write_run(path, run)
        print(f"{name}: {len(records)} records, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return run


def write_markdown(path: Path, page: dict[str, list[str]]) -> None:
    """Write all tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [line for name, table in page.items() for line in (f"## {name}", "", *table, "")]
    path.write_text("\n".join(lines), encoding="utf-8")


def read_arguments(command_line: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all without any")
    parser.add_argument("--quick", action="store_true", help="smaller files and fewer rounds: minutes")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="where records go; default: build/bench/DATE.json, with quick and sections in its name",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where tables go; default: beside the records")
    parser.add_argument("--docs", action="store_true", help="rewrite the tables of docs/performance.md")
    parser.add_argument("--from", dest="read", type=Path, nargs="+", metavar="FILE", help="take the records of runs before")
    arguments = parser.parse_args(command_line)
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    # a part of it must not replace the whole of the same day
    name = "-".join([date.today().isoformat(), *(["quick"] if arguments.quick else []), *arguments.sections])
    arguments.json = arguments.json or ROOT / "build" / "bench" / f"{name}.json"
    arguments.markdown = arguments.markdown or arguments.json.with_suffix(".md")
    return arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
