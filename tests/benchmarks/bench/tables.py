"""Records as Markdown. Every function returns lines."""

from collections.abc import Iterable, Sequence
from itertools import product

from tests.benchmarks.bench.capacity import MODELS, NETWORKS, REPLICAS, Assumptions, Estimate, Rates, estimate, rates_of
from tests.benchmarks.bench.records import Record, Run
from tests.benchmarks.bench.targets import outcomes

TITLES = {
    "wire_ceilings": "The bare server, by size of message (best of the rounds)",
    "wire": "Ours, in turns with the bare server",
    "memory": "Peaks of both processes",
    "soak": "Memory held over many requests",
    "sap": "Index and compression of MiniLM together, against the published step in plain torch (ratio: times faster)",
    "rate": "Share of what a copy of the same bytes in memory reaches (and GB/s of weights)",
    "gpu": "On the card",
    "latency": "Single requests, warm channel",
    "start": "Starts",
    "sizes": "By size",
    "linearity": "The straight line through these sizes",
    "shapes": "By shape, one tensor each",
    "replicas": "Replicas on this machine, one client process and stream each",
}

ASSUMED = Assumptions()

NOT_MEASURED = "Not in this run."


def machine(run: Run) -> list[str]:
    """Return the one sentence that every figure needs beside it."""
    known = run.machine
    extensions = ", ".join(known["extensions"]) or "none of interest"
    versions = ", ".join(f"{package} {version}" for package, version in run.versions.items())
    return [
        f"Measured {run.date} ({run.scale}) on {known['cores']} cores of {known['processor']} (extensions: {extensions}), "
        f"{known['memory_gb']} GB, {known['system']}; {versions}."
    ]


def targets(run: Run) -> list[str]:
    """Return what was promised and what came of it."""
    lines = _head("target", "limit", "measured", "met")
    for each in outcomes(run):
        measured = "not in this run" if each.measured is None else _figures(each.measured)
        met = {None: "-", True: "yes", False: "**no**"}[each.met]
        sign = "≥" if each.target.at_least else "≤"
        lines.append(_row(each.target.promise, f"{sign} {each.target.limit:g}", measured, met))
    return lines


def section(run: Run, name: str) -> list[str]:
    """Return a table for each bench of a section."""
    benches: dict[str, list[Record]] = {}
    for record in run.of(name):
        benches.setdefault(record["bench"], []).append(record)
    if not benches:
        return [NOT_MEASURED]
    shown = {bench: rates(records) if bench == "rate" else of(records) for bench, records in benches.items()}
    return [line for bench, table in shown.items() for line in ("", f"*{TITLES.get(bench, bench)}*", "", *table)]


def of(records: Sequence[Record]) -> list[str]:
    """Return records as a table: a column for every figure that any of them has."""
    figures = dict.fromkeys(figure for record in records for figure in _shown(record))
    rows = [_row(record["case"], *(_cell(record, figure) for figure in figures)) for record in records]
    return [*_head("", *map(_title, figures)), *rows]


def rates(records: Sequence[Record]) -> list[str]:
    """Return kernels as a table of shapes, from cases called "OPERATION DTYPE SHAPE": there are too many for a row each."""
    cells: dict[str, dict[str, str]] = {}
    for record in records:
        kernel, shape = record["case"].rsplit(" ", 1)
        cells.setdefault(kernel, {})[shape] = f"{record['ratio']:.2f} ({record['bytes_a_second'] / 1e9:.1f} GB/s)"
    shapes = dict.fromkeys(shape for row in cells.values() for shape in row)
    return [*_head("", *shapes), *(_row(kernel, *(row.get(shape, "-") for shape in shapes)) for kernel, row in cells.items())]


def capacity(run: Run, assumed: Assumptions = ASSUMED) -> list[str]:
    """Return time, cost and limit of large models, by replicas and network."""
    lines = [
        f"Assumed: {assumed.replica_cores} cores a replica, {assumed.client_cores} at the client, a disk of "
        f"{assumed.disk_gb_a_second:g} GB/s; {_range(assumed.core_hour_dollars)} dollars a core-hour, "
        f"{_range(assumed.gpu_hour_dollars)} dollars a GPU-hour."
    ]
    for method in ("Analyze", "Compress"):
        rates = rates_of(run, method)
        if rates is None:
            return [NOT_MEASURED]
        lines += ["", f"*{method}, BF16*", "", *_head("parameters", "replicas", *(f"{speed} Gbit/s" for speed in NETWORKS))]
        lines += [
            _estimates(rates, model, replicas, assumed) for model in MODELS for replicas in product(("CPU", "GPU"), REPLICAS)
        ]
    return lines


def page(run: Run, sections: Iterable[str]) -> dict[str, list[str]]:
    """Return everything by the names that docs/performance.md calls it by."""
    return {
        "machine": machine(run),
        "targets": targets(run),
        **{name: section(run, name) for name in sections},
        "capacity": capacity(run),
    }


def _estimates(rates: Rates, model: str, replicas: tuple[str, int], assumed: Assumptions) -> str:
    kind, count = replicas
    found = [
        estimate(2 * MODELS[model] / 1e9, rates, replicas=count, gbit_a_second=speed, gpu=kind == "GPU", assumed=assumed)
        for speed in NETWORKS
    ]
    return _row(model, f"{count} {kind}", *map(_estimated, found))


def _estimated(found: Estimate) -> str:
    return f"{_duration(found.seconds)}, ${_range(found.dollars)}, {found.limited_by}"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"


def _range(ends: tuple[float, float]) -> str:
    return " to ".join(f"{float(f'{end:.2g}'):g}" for end in ends)  # two digits, but 170 rather than 1.7e+02


def _shown(record: Record) -> list[str]:
    """Return the figures; the extremes of a ratio stand in its own column."""
    return [name for name in record if name not in ("bench", "case", "section", "ratio_low", "ratio_high")]


def _title(figure: str) -> str:
    words = figure.removesuffix("_bytes") + " MB" if figure.endswith("_bytes") else figure
    return words.replace("gb_a_second", "GB/s").replace("cpu_seconds_a_gb", "CPU s/GB").replace("_", " ").strip()


def _cell(record: Record, figure: str) -> str:
    value = record.get(figure)
    if value is None:
        return "-"
    if figure == "ratio" and "ratio_low" in record:
        return f"{value:.2f} ({record['ratio_low']:.2f} to {record['ratio_high']:.2f})"
    if isinstance(value, int | float) and figure.endswith("_bytes"):
        return f"{value / 1e6:.0f}"
    return _figures(value) if isinstance(value, float) else str(value)


def _figures(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _head(*titles: str) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
