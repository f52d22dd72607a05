"""Checks what a report promises of the whole network, by making every promise once more."""

from collections.abc import Sequence

from ellq_client.certificates import GradeCertificate, LayerEffect, NetworkCertificate
from ellq_client.errors import ClaimRefuted
from ellq_client.rules import ErrorBudget, Rule
from ellq_client.verifying.claims import LOOSENESS, Claims
from ellq_math.network import findings
from ellq_math.network.certify import NetworkFindings
from ellq_math.network.topology import Graph
from ellq_math.sums import UNIT_ROUNDOFF

MOST_OUTPUT_ERRORS = 1000
"""Values of a node that are told one by one at most."""

MOST_ENDINGS = 100
"""Endings that are told at most."""

_ROUNDINGS_A_STEP = 64


def rounding_of(graph: Graph) -> float:
    """Return how far two evaluations of one bound can be apart, relatively.

    Both are rounded up, and only the order of adding differs. A sum of n non-negative products is inflated by less than
    8 (n + 64) u by everything that a step does to it, and bounds are products of such factors along the steps. Where signed
    terms cancel no such limit holds; the floor, which other bounds of a report have too, leaves room for that.
    """
    roundings = sum(step.fan_in + _ROUNDINGS_A_STEP for step in graph.steps)
    return max(LOOSENESS, 2 * 8 * roundings * UNIT_ROUNDOFF)


def check_promises(
    claimed: NetworkCertificate, found: NetworkFindings, graph: Graph, rule: Rule, *, cost: float | None, samples: int
) -> None:
    """Hold the certificate against what was found; `cost` is that of an error budget, `samples` the number of margins.

    Errors: ClaimRefuted.
    """
    claims, rounding = Claims(), rounding_of(graph)
    where = "summary.network"
    claims.equal(f"{where}.absence", claimed.absence, None if found.grades else "unbounded")
    claims.equal(f"{where}.node", claimed.node, found.node)
    claims.equal(f"{where}.reaches_output", claimed.reaches_output, found.reaches_output)
    endings = [(ending.node, ending.reason.value) for ending in found.endings[:MOST_ENDINGS]]
    claims.equal(f"{where}.endings", [(ending.node, ending.reason) for ending in claimed.endings], endings)
    claims.equal(f"{where}.grades", [grade.grade for grade in claimed.grades], [grade.grade.value for grade in found.grades])
    for told, grade in zip(claimed.grades, found.grades, strict=True):
        _check_grade(told, grade, rounding=rounding, samples=samples)
    _check_tightest(claimed, rounding=rounding)
    told = len(claimed.layers)
    claims.equal(f"{where}.layers_left_out", claimed.layers_left_out, max(len(found.layers) - told, 0))
    _check_layers(claimed.layers, found.layers[:told], rounding=rounding)
    check_budget(claimed, rule, cost=cost)


def _check_grade(claimed: GradeCertificate, found: findings.GradeCertificate, *, rounding: float, samples: int) -> None:
    claims, where = Claims(), f"summary.network.{claimed.grade}"
    claims.equal(f"{where}.node", claimed.node, found.node)
    for name in ("output_error_max", "output_error_l2", "operator_norm_product"):
        _close(claims, f"{where}.{name}", getattr(claimed, name), getattr(found, name), rounding=rounding)
    errors = found.output_errors if len(found.output_errors) <= MOST_OUTPUT_ERRORS else found.output_errors[:0]
    claims.all_close(f"{where}.output_errors", claimed.output_errors, errors, relative=rounding)
    share, place = found.unchanged_share, f"{where}.unchanged_share"
    if share is None or claimed.unchanged_share is None:
        claims.equal(place, claimed.unchanged_share, share)
    else:  # a sample whose margin lies right at the bound may be counted or not
        nearby = [share + step / samples for step in (-1, 0, 1)]
        nearest = min(nearby, key=lambda one: abs(one - (claimed.unchanged_share or 0.0)))
        claims.close(place, claimed.unchanged_share, nearest, absolute=LOOSENESS)


def _check_tightest(claimed: NetworkCertificate, *, rounding: float) -> None:
    here = {grade.grade: grade.output_error_max for grade in claimed.grades if grade.node == claimed.node}
    claims, where = Claims(), "summary.network.tightest"
    if not here:
        claims.equal(where, claimed.tightest, None)
    elif claimed.tightest not in here or here[claimed.tightest] > min(here.values()) * (1 + rounding):
        raise ClaimRefuted(where, claimed=claimed.tightest, found=min(here, key=here.__getitem__))


def _check_layers(claimed: Sequence[LayerEffect], found: Sequence[findings.LayerEffect], *, rounding: float) -> None:
    claims, where = Claims(), "summary.network.layers"
    names = [(layer.node, layer.tensor, layer.grade.value) for layer in found]
    claims.equal(where, [(layer.node, layer.tensor, layer.grade) for layer in claimed], names)
    for told, layer in zip(claimed, found, strict=True):
        for name in ("own_error_max", "own_error_l2", "error_max", "error_l2"):
            place = f"{where}[{layer.node!r}, {told.grade}].{name}"
            _close(claims, place, getattr(told, name), getattr(layer, name), rounding=rounding)


def check_budget(claimed: NetworkCertificate, rule: Rule, *, cost: float | None) -> None:
    """Hold what is said of an error budget against the cost of what it cut; None: there is none. Errors: ClaimRefuted."""
    claims, where = Claims(), "summary.network.budget"
    told = claimed.budget
    if told is None or not isinstance(rule, ErrorBudget) or cost is None:
        claims.equal(where, told, None if cost is None else "an error budget")
        return
    grade = claimed.grade(rule.grade) if claimed.reaches_output else None
    certified = cost if grade is None or grade.node != claimed.node else min(cost, grade.output_error_max)
    unused = None if rule.max_error is None else rule.max_error - certified
    claims.equal(f"{where}.grade", told.grade, rule.grade)
    claims.equal(f"{where}.max_error", told.max_error, rule.max_error)
    claims.equal(f"{where}.cost", told.cost, cost)
    claims.equal(f"{where}.certified_error", told.certified_error, certified)
    claims.equal(f"{where}.unused", told.unused, unused)


def _close(claims: Claims, claim: str, claimed: float | None, found: float | None, *, rounding: float) -> None:
    if claimed is None or found is None:
        claims.equal(claim, claimed, found)
    else:
        claims.close(claim, claimed, found, relative=rounding)
