"""Norms of parts add up to upper bounds, held against exact numbers."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction as Exact
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.client.folders.models import write_model

from ellq_client import Client, Tail
from ellq_client.folders.totals import as_one
from ellq_client.report import Report
from ellq_client.values import Summary

SLACK = Exact(1, 2**38)
"""More than a bound is raised by, and than a measured norm is wrong by."""

NORMS = st.floats(min_value=0, max_value=1e150) | st.sampled_from([0.0, 5e-324, 1e-300, 1e-290, 1.0])


@pytest.fixture(scope="module")
def report(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of one shard with three tensors, of which one is compressed."""
    place = tmp_path_factory.mktemp("totals")
    model = write_model(place / "model", shards=1)
    return client.compress(model, place / "out", rule=Tail(epsilon=0.3, p=2)).result().parts[0].report


def joined(report: Report, norms: Sequence[tuple[float, float, float]]) -> Summary:
    """Return what is said of parts with these norms of what was cut, ratios, and norms of everything."""
    parts = []
    for cut, ratio, whole in norms:
        measured = [one and replace(one, l2=whole) for one in (tensor.measurement for tensor in report.tensors)]
        assert sum(one is not None for one in measured) == 1
        tensors = tuple(replace(one, measurement=found) for one, found in zip(report.tensors, measured, strict=True))
        parts.append(replace(report, tensors=tensors, summary=replace(report.summary, frobenius=cut, frobenius_ratio=ratio)))
    return as_one(report.source, parts, global_=report.summary.global_).summary


@given(norms=st.lists(NORMS, min_size=2, max_size=6))
@example(norms=[0.0, 0.0])
@example(norms=[5e-324, 5e-324])
@example(norms=[3.0, 4.0])
def test_the_norm_of_all_parts_covers_theirs(report: Report, norms: list[float]) -> None:
    found = joined(report, [(norm, 0.5, 1.0) for norm in norms]).frobenius
    exact = sum(Exact(norm) ** 2 for norm in norms)
    assert exact <= Exact(found) ** 2 <= max(exact * (1 + SLACK), Exact(5e-323) ** 2)
    assert (found == 0) == (exact == 0)


RATIOS = st.just(0.0) | st.floats(1e-9, 1)


@given(parts=st.lists(st.tuples(RATIOS, st.floats(1e-100, 1e100)), min_size=2, max_size=6))
@example(parts=[(1.0, 3.0), (0.0, 4.0)])
@example(parts=[(1.0, 1.0), (1.0, 1.0)])
@example(parts=[(0.5, 1e-180), (0.0, 1e150)])
def test_the_ratio_of_all_parts_covers_the_mean_of_theirs(report: Report, parts: list[tuple[float, float]]) -> None:
    found = joined(report, [(1.0, *part) for part in parts]).frobenius_ratio
    most = max(ratio for ratio, _ in parts)
    mean = sum((Exact(ratio) * Exact(norm)) ** 2 for ratio, norm in parts) / sum(Exact(norm) ** 2 for _, norm in parts)
    assert mean <= Exact(found) ** 2 <= max(mean * (1 + SLACK), Exact(5e-323) ** 2)
    assert found <= most


@pytest.mark.parametrize("whole", [0.0, 1e-300, inf])
def test_the_ratio_is_the_largest_where_norms_say_nothing(report: Report, whole: float) -> None:
    assert joined(report, [(1.0, 0.25, whole), (1.0, 0.5, whole)]).frobenius_ratio == 0.5


def test_the_norms_of_a_single_part_stay(report: Report) -> None:
    found = joined(report, [(0.1, 0.2, 0.5)])
    assert (found.frobenius, found.frobenius_ratio) == (0.1, 0.2)


def test_everything_else_adds_up(report: Report) -> None:
    one, found = report.summary, joined(report, [(1.0, 0.5, 1.0)] * 3)
    for name in ("tensors", "compressible_tensors", "weights", "zeros_before", "zeros_after", "kept"):
        assert getattr(found, name) == 3 * getattr(one, name), name
        assert getattr(one, name) > 0 or name == "zeros_before", name
