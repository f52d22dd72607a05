"""What is tried on every network: the rules of the service, and plain magnitude beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

from ellq_client.rules import ErrorBudget, Fraction, Lasso, NOfM, PqIndex, Rule, SparsityIndex, Tail
from tests.benchmarks.degradation.subjects import Subject

SCOPES = ("neuron", "layer", "global")
ETAS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Grid:
    """The parameters that are tried."""

    sparsity_index: tuple[tuple[float, float], ...]
    """(q, eta)."""
    etas: tuple[float, ...]
    """Of the sparsity index on weighed weights, q = 0.5, and of the PQ Index."""
    losses: tuple[float, ...]
    """Shares of a neuron's root mean square that LASSO may lose."""
    budgets: tuple[float, ...]
    """Allowed errors, as shares of the size of the outputs."""
    measured_budgets: tuple[float, ...]
    """The same, spent by certificates of trial cuts, which takes many of them."""
    ratios: tuple[float, ...]
    """What magnitude prunes at every scope, and the error budget at the least cost."""
    cost_duels: tuple[float, ...]
    """What magnitude prunes at every scope, to be held against an error budget of the same sum of costs."""
    certificate_duels: tuple[float, ...]
    """What uniform magnitude prunes, to be held against an error budget of the same certificate."""


FULL = Grid(
    sparsity_index=tuple((q, eta) for q in (0.3, 0.5, 0.7) for eta in ETAS),
    etas=ETAS,
    losses=(0.02, 0.05, 0.1, 0.2, 0.4),
    budgets=(0.05, 0.1, 0.2, 0.5, 1.0),
    measured_budgets=(0.1, 0.5),
    ratios=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    cost_duels=(0.1, 0.3, 0.5, 0.7),
    certificate_duels=(0.3, 0.6),
)
COARSE = Grid(
    sparsity_index=((0.3, 0.0), (0.5, 0.0), (0.7, 0.0), (0.5, 0.1), (0.5, 0.2), (0.5, 0.3)),
    etas=(0.0, 0.3),
    losses=(0.05, 0.2, 0.4),
    budgets=(0.1, 0.5),
    measured_budgets=(0.5,),
    ratios=(0.3, 0.5, 0.7, 0.9),
    cost_duels=(0.3, 0.6),
    certificate_duels=(0.5,),
)
"""For images, where a certificate takes a second or two."""
QUICK = Grid(
    sparsity_index=((0.5, 0.1),),
    etas=(0.1,),
    losses=(0.05,),
    budgets=(0.1,),
    measured_budgets=(),
    ratios=(0.5,),
    cost_duels=(0.5,),
    certificate_duels=(),
)


@dataclass(frozen=True)
class Trial:
    """One way to compress a network."""

    family: str
    """What the docs call it."""
    rule: Rule
    weighed: bool = False
    """Choose by |w_j| s_j instead of by |w_j|."""
    removes_dead_neurons: bool = False
    matched_to: str = ""
    """The family whose pruned ratio this one was given; empty: none."""

    @property
    def budget_grade(self) -> str | None:
        """The grade that an error budget is spent in; None: there is no budget."""
        return self.rule.grade if isinstance(self.rule, ErrorBudget) else None


def trials_of(subject: Subject, grid: Grid) -> Iterator[Trial]:
    """Yield the trials."""
    for q, eta in grid.sparsity_index:
        yield Trial("sparsity_index", SparsityIndex(q=q, eta=eta))
    for eta in grid.etas:
        yield Trial("sparsity_index, weighed", SparsityIndex(q=0.5, eta=eta), weighed=True)
        yield Trial("pq_index", PqIndex(p=0.5, q=1.0, eta=eta))
    for epsilon in grid.losses:
        yield Trial("lasso", Lasso(epsilon=epsilon))
    yield Trial("tail", Tail(epsilon=0.2, p=2))
    yield Trial("n_of_m", NOfM(n=2, m=4))
    yield from _budgets(subject, grid)
    for scope in SCOPES:
        for ratio in grid.ratios:
            yield Trial(f"magnitude, {scope}", Fraction(pruned_ratio=ratio, scope=scope))


def matched(trial: Trial, pruned_ratio: float) -> Trial | None:
    """Return uniform magnitude pruning of the same ratio, the baseline of the paper; None where it is no comparison."""
    if not 0 < pruned_ratio < 1 or isinstance(trial.rule, Fraction | NOfM | Tail):
        return None
    return Trial("magnitude, matched", Fraction(pruned_ratio=pruned_ratio, scope="layer"), matched_to=trial.family)


def _budgets(subject: Subject, grid: Grid) -> Iterator[Trial]:
    """Yield error budgets, relative to the root mean square of all outputs (mean square) or the largest one (box)."""
    outputs = subject.traces[-1].values
    sizes = {"mean_square": outputs.square().mean().sqrt().item(), "box": outputs.abs().max().item()}
    for grade, size in sizes.items():
        for share in grid.budgets:
            yield Trial(f"error_budget, {grade}", ErrorBudget(max_error=share * size, grade=grade))
        for share in grid.measured_budgets:
            yield Trial(f"error_budget, {grade}, measured", ErrorBudget(max_error=share * size, grade=grade, measured=True))
        for ratio in grid.ratios:
            yield Trial(f"error_budget, {grade}, ratio", ErrorBudget(pruned_ratio=ratio, grade=grade))
    budget = ErrorBudget(max_error=sizes["mean_square"], grade="mean_square")
    yield Trial("error_budget, dead neurons removed", budget, removes_dead_neurons=True)
