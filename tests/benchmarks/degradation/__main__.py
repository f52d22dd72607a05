"""Runs the study: python -m tests.benchmarks.degradation [--quick] [--docs]."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ellq_client import Client
from tests.benchmarks.degradation import tables
from tests.benchmarks.degradation.data import FOLDER, LOADERS, Absent, Data
from tests.benchmarks.degradation.duels import duels_of
from tests.benchmarks.degradation.models import RECIPES
from tests.benchmarks.degradation.page import fill
from tests.benchmarks.degradation.records import Case, Duel, read, write
from tests.benchmarks.degradation.runs import cases_of
from tests.benchmarks.degradation.subjects import Subject, subject_of
from tests.benchmarks.degradation.trials import COARSE, FULL, QUICK, Grid

DOCS = Path(__file__).parents[3] / "docs"

SHOWN = ("diamonds-3", "fashion-3", "fashion-cnn")
"""Models with a table of their own in the docs."""


def main() -> int:
    """Return 0 when no promise was refuted and there is one."""
    arguments = read_arguments()
    torch.set_num_threads(2)
    path = FOLDER / ("records-quick.jsonl" if arguments.quick else "records.jsonl")
    if not arguments.from_records:
        with Client() as client:
            for _ in write(path, run(client, arguments.models, quick=arguments.quick)):
                pass
    cases, duels = read(path)
    made = tables_of(cases, duels)
    for name, lines in made.items():
        print(f"\n{name}", *lines, sep="\n")
    if arguments.docs:
        fill(DOCS / "degradation.md", made)
        from tests.benchmarks.degradation.plots import draw  # matplotlib, of the extra `study`

        draw(cases, duels, DOCS / "degradation")
    return 0 if cases and not sum(case.violations for case in cases) else 1


def run(client: Client, models: Sequence[str], *, quick: bool) -> Iterator[Case | Duel]:
    """Yield all records; what data are missing is said on standard error."""
    known: dict[str, Data | None] = {}
    for recipe in RECIPES:
        if models and recipe.name not in models:
            continue
        if recipe.data not in known:
            known[recipe.data] = _loaded(recipe.data)
        data = known[recipe.data]
        for seed in range(1 if quick else recipe.seeds) if data else ():
            start = time.perf_counter()
            count = 0
            grid = QUICK if quick else COARSE if recipe.sees_images else FULL
            for record in records_of(client, subject_of(recipe, data, seed), grid):
                count += 1
                yield record
            print(f"{recipe.name}, seed {seed}: {count} records, {time.perf_counter() - start:.0f} s", file=sys.stderr)


def records_of(client: Client, subject: Subject, grid: Grid) -> Iterator[Case | Duel]:
    """Yield all records of one network."""
    yield from cases_of(client, subject, grid)
    yield from duels_of(client, subject, grid)


def tables_of(cases: Sequence[Case], duels: Sequence[Duel]) -> dict[str, list[str]]:
    """Return the tables by the names that the page calls them by."""
    shown = [model for model in SHOWN if any(case.model == model for case in cases)]
    return {
        "networks": tables.networks(cases),
        "violations": tables.violations(cases),
        **{model: tables.one_shot(cases, model) for model in shown},
        "orderings": tables.orderings(cases),
        "tightness": tables.tightness(cases),
        "gains": tables.gains(cases),
        "duels": tables.duels(duels),
        "held out": tables.held_out(cases),
    }


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.degradation", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(recipe.name for recipe in RECIPES)}")
    parser.add_argument("--quick", action="store_true", help="one seed, and few parameters of each rule")
    parser.add_argument("--docs", action="store_true", help="rewrite tables and pictures of docs/degradation.md")
    parser.add_argument("--from-records", action="store_true", help="take the records of the run before")
    return parser.parse_args()


def _loaded(name: str) -> Data | None:
    try:
        return LOADERS[name]()
    except Absent as absent:
        print(f"{name} is left out. {absent}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
