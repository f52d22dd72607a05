"""docs/gpu_results.md, and the same as JSON in the form that the tables of docs/performance.md are made from."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import tables
from tests.benchmarks.bench.records import Run, write_run
from tests.benchmarks.gpu.machine import Machine
from tests.benchmarks.gpu.parts import Ended

FIGURES = ("seconds", "copy_bandwidth_ratio", "device_seconds", "device_copy_bandwidth_ratio", "times_faster_than_sort")

INTRODUCTION = """# The kernels on a card

Written by `make gpu`. *seconds* are a caller's: host work and synchronisation included, medians of actions that took turns;
*device seconds* are those that kernels kept the card busy, once, without what travels to and from the host: numbers of rows,
not weights. Each ratio is to one copy of the same bytes in the same run, of which half is reading: statistics and choices read
every weight, all else writes it, too. The largest tensors lie beyond any cache; adapters do not.
"""


def write(page: Path, machine: Machine, size: str, ended: Sequence[Ended]) -> None:
    """Write what is known so far: PAGE and, beside it, the records."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(_page(machine, size, ended)) + "\n", encoding="utf-8")
    records = [_flat(record) for part in ended for record in part.records]
    about = asdict(machine) | {"processor": machine.device}
    write_run(page.with_suffix(".json"), Run(machine.date, size, about, machine.versions, records))


def _page(machine: Machine, size: str, ended: Sequence[Ended]) -> list[str]:
    versions = ", ".join(f"{package} {version}" for package, version in machine.versions.items())
    where = f"{machine.device}; driver {machine.driver}; {machine.cores} cores"
    lines = [INTRODUCTION, f"{machine.date} ({size}): {where}; {versions}."]
    lines += ["", "| part | seconds | outcome |", "| --- | --- | --- |"]
    lines += [f"| {part.name} | {part.seconds:.0f} | {part.why or 'complete'} |" for part in ended]
    for part in ended:
        lines += ["", f"## {part.name}", ""]
        lines += _table(part.records) if part.records else [f"    {line}" for line in part.output.splitlines()[-12:]]
        if part.why and part.records:
            lines += ["", *(f"    {line}" for line in part.output.splitlines()[-12:])]
    return lines


def _table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return a row for each action, then those that failed, the agreement, and where each action's time on the card went."""
    measured = [record for record in records if "seconds" in record]
    shown = [{"case": record["what"]} | {name: record[name] for name in FIGURES if name in record} for record in measured]
    lines = tables.of(shown) if shown else []
    lines += ["", *(f"- {record['what']} failed: `{record['failed']}`" for record in records if "failed" in record)]
    lines += [f"- Differs from the CPU: {record['differing']}." for record in records if "differing" in record]
    for record in measured:
        busy = sorted(record.get("kernels", {}).items(), key=lambda one: -one[1])
        if len(busy) > 1:
            lines.append(f"- {record['what']}: " + ", ".join(f"{name[:40]} {1e6 * taken:.0f} µs" for name, taken in busy[:6]))
    return lines


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in record.items() if name != "kernels"}
    return kept | {"section": "gpu", "bench": "gpu", "case": f"{record['case']}, {record['what']}"}
