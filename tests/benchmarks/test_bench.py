"""The benchmark runs from end to end on tiny files, and its records, tables and page hold together. Never how fast it is."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.bench import __main__ as bench
from tests.benchmarks.bench import tables
from tests.benchmarks.bench.capacity import Assumptions, Rates, estimate
from tests.benchmarks.bench.checkpoints import Tensor, matrices, write_checkpoint
from tests.benchmarks.bench.duels import Trial, alternate, ratio
from tests.benchmarks.bench.growth import line
from tests.benchmarks.bench.records import Run, read_runs
from tests.benchmarks.bench.scales import TINY
from tests.benchmarks.bench.targets import TARGETS, outcomes

PAGE = (Path(__file__).parents[2] / "docs/performance.md").read_text()
MEASURED = ("wire", "memory", "soak", "small", "growth")
"""All but kernels and gpu, which have tests of their own."""

RATES = Rates(
    cpu_stream_gb_a_second=1.0,
    gpu_stream_gb_a_second=2.0,
    cpu_server_seconds_a_gb=4.0,
    gpu_server_seconds_a_gb=1.0,
    client_seconds_a_gb=8.0,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One file of records for each section; all at once, since nobody looks at how fast they were."""
    folder = tmp_path_factory.mktemp("bench")
    files = [folder / f"{section}.json" for section in MEASURED]
    bench.keep_kernels()
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda file: bench.measure([file.stem], TINY, file), files))
    return files


@pytest.fixture(scope="module")
def run(files: list[Path]) -> Run:
    return read_runs(files)


def test_files_hold_what_was_measured_and_where(run: Run, files: list[Path]):
    assert run.scale == TINY.name
    assert run.machine["cores"] >= 1
    assert [record for file in files for record in read_runs([file]).records] == run.records


def test_every_section_has_records_and_none_twice(run: Run):
    assert {record["section"] for record in run.records} == set(MEASURED)
    names = [(record["bench"], record["case"]) for record in run.records]
    assert len(names) == len(set(names))


def test_every_figure_is_possible(run: Run):
    # the straight line may begin below zero; times, bytes and ratios may not
    records = [record for record in run.records if record["bench"] != "linearity"]
    assert min(value for record in records for value in record.values() if isinstance(value, int | float)) >= 0
    for record in run.of("wire"):
        assert record["gb_a_second"] > 0
        if "ratio" in record:
            assert record["ratio_low"] <= record["ratio"] <= record["ratio_high"]
    for record in run.of("memory"):
        assert record["server_peak_bytes"] >= record["server_idle_bytes"] > 0


def test_the_soak_did_everything(run: Run):
    for record in run.of("soak"):
        assert sum(map(int, re.findall(r"\d+", record["requests"]))) == TINY.soak_requests
        assert {"analyze", "compress", "refused", "cancelled"} <= set(record["requests"].replace(",", "").split())


def test_targets_find_their_records(run: Run):
    measured = {each.target.promise for each in outcomes(run) if each.measured is not None}
    assert measured >= {target.promise for target in TARGETS if target.bench not in ("sap", "gpu")}


def test_every_record_is_a_row(run: Run):
    for name in MEASURED:
        rows = [row for row in tables.section(run, name) if row.startswith("| ") and "---" not in row]
        heads = len({record["bench"] for record in run.of(name)})
        assert len(rows) == len(run.of(name)) + heads
        assert all(row.count(" |") >= 2 for row in rows)


def test_kernels_are_shown_by_shape():
    records = [
        {"case": f"{kernel} {shape}", "ratio": 0.5, "bytes_a_second": 2e9}
        for kernel, shape in (("apply F32", "1x9"), ("apply F32", "9x1"), ("measure 0.3,1,2 F32", "9x1"))
    ]
    head, _, *rows = tables.rates(records)
    assert head == "|  | 1x9 | 9x1 |"
    assert rows == [
        "| apply F32 | 0.50 (2.0 GB/s) | 0.50 (2.0 GB/s) |",
        "| measure 0.3,1,2 F32 | - | 0.50 (2.0 GB/s) |",
    ]


def test_the_page_has_a_place_for_every_table(run: Run):
    assert set(re.findall(r"<!-- table: (.+?) -->", PAGE)) == set(tables.page(run, bench.SECTIONS))


def test_what_is_not_measured_says_so():
    empty = Run("2026-01-01", "tiny", {}, {}, [])
    assert tables.section(empty, "wire") == tables.capacity(empty) == [tables.NOT_MEASURED]
    assert all(each.met is None for each in outcomes(empty))


def test_checkpoints_are_what_safetensors_reads(tmp_path: Path):
    from safetensors.numpy import load_file

    tensors = [*matrices("F32", 100_000, tensor_bytes=40_000), Tensor("kernel", "F32", (3, 5, 2, 2))]
    read = load_file(write_checkpoint(tmp_path / "w.safetensors", tensors))
    assert {name: weights.shape for name, weights in read.items()} == {tensor.name: tensor.shape for tensor in tensors}
    assert all(0.015 < weights.std() < 0.025 for weights in read.values() if weights.size > 1000)
    assert sum(tensor.size_bytes for tensor in tensors[:-1]) == pytest.approx(100_000, abs=4096 * 4 * 3)


def test_everybody_has_as_many_turns_and_never_the_same_predecessor_twice():
    turns: list[str] = []
    found = alternate({name: lambda name=name: turns.append(name) for name in "abc"}, 2)
    assert "".join(turns) == "cba" + "abc" + "cba"
    assert {name: len(each) for name, each in found.items()} == {"a": 2, "b": 2, "c": 2}


def test_ratios_are_of_one_round():
    def trials(*rates: float) -> list[Trial]:
        return [Trial(round(rate * 1e9), 1.0, 0.0, 0.0) for rate in rates]

    found = ratio(trials(1, 2, 30), trials(2, 2, 10))
    assert (found["ratio_low"], found["ratio"], found["ratio_high"]) == (0.5, 1.0, 3.0)


def test_a_straight_line_is_found_and_a_bend_is_told():
    straight = line([(size, 0.25 + 2e-9 * size) for size in (10**6, 10**8, 10**9)])
    assert straight == pytest.approx({"fixed_seconds": 0.25, "seconds_a_gb": 2.0, "worst_deviation_ratio": 0}, abs=1e-9)
    bent = line([(10**6, 0.1), (10**7, 1.0), (10**8, 100.0)])
    assert bent["worst_deviation_ratio"] > 0.1


@pytest.mark.parametrize(
    ("changed", "limited_by", "seconds"),
    [
        ({"replicas": 1, "gbit_a_second": 1}, "network", 800),
        ({"replicas": 1, "gbit_a_second": 100}, "streams", 100),
        ({"replicas": 64, "gbit_a_second": 100}, "client", 25),
        ({"replicas": 64, "gbit_a_second": 100, "client_cores": 64}, "disk", 20),
        ({"replicas": 2, "gbit_a_second": 100, "cores": 2}, "replicas", 100),
        ({"replicas": 2, "gbit_a_second": 100, "cores": 2, "client_cores": 64, "gpu": True}, "streams", 25),
        ({"replicas": 3, "gbit_a_second": 100, "cores": 1, "gpu": True}, "replicas", 100 / 3),
    ],
)
def test_the_narrowest_place_limits(changed: dict[str, Any], limited_by: str, seconds: float):
    cores = {"replica_cores": changed.pop("cores", 8), "client_cores": changed.pop("client_cores", 32)}
    assumed = Assumptions(**cores, disk_gb_a_second=5.0, core_hour_dollars=(0.01, 0.1), gpu_hour_dollars=(1, 10))
    gpu = changed.pop("gpu", False)
    found = estimate(100, RATES, **changed, gpu=gpu, assumed=assumed)
    assert (found.limited_by, found.seconds) == (limited_by, pytest.approx(seconds))
    low = (0.01 * assumed.replica_cores + (1 if gpu else 0)) * changed["replicas"] * seconds / 3600
    assert found.dollars == pytest.approx((low, 10 * low))
