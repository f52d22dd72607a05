"""What the rules of a request must do to every tensor, as far as it can be chosen once more."""

from collections.abc import Mapping, Sequence

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ReportError
from ellq_client.requests import Request
from ellq_client.verifying.budgets import choose_cheapest, cost_of, price
from ellq_client.verifying.choices import Chooser, choose_at, choose_by_neuron, find_threshold
from ellq_client.verifying.cuts import zero_rows
from ellq_client.verifying.enclosed import Enclosed
from ellq_client.verifying.expectations import math_rule
from ellq_client.verifying.tensors import Ruled, TensorCheck
from ellq_client.verifying.weighing import WeighedMatrix
from ellq_math.allocation import pool_target
from ellq_math.measuring import Mask
from ellq_math.network.dead_neurons import Flags
from ellq_math.network.knowledge import Moments
from ellq_math.pooling import fold, pool
from ellq_math.rules import ErrorBudget, Lasso, NOfM, Rule
from ellq_math.sums import Array

_SCOPES = ("neuron", "layer", "global")
_ONLY_SCOPE: Mapping[type[Rule], Sequence[str]] = {NOfM: ("neuron",), Lasso: ("neuron",), ErrorBudget: ("global",)}


class Choices:
    """The choices of one request. Tensors are asked for in offset order, because ties are used up in it."""

    def __init__(
        self, request: Request, enclosed: Enclosed, checks: Sequence[TensorCheck], moments: Mapping[str, Moments]
    ) -> None:
        """Make the choices of global scope; `checks` are of all compressible tensors. Errors: ReportError."""
        if request.rule is None:
            raise ReportError("report.request: a compression has a rule")
        self.cost: float | None = None
        """Sum of the costs of what an error budget cuts; None: there is none, or it cannot be reckoned."""
        self._request, self._request_rule = request, request.rule
        self._enclosed, self._original = enclosed, enclosed.tensors.before
        self._costs: dict[str, WeighedMatrix] = {}
        self._pooled: Chooser | None = None
        counted = [check for check in checks if check.report.rule is None]
        rule = math_rule(request.rule)
        if isinstance(rule, ErrorBudget):
            self._choose_by_budget(rule, counted, moments)
        elif request.rule.scope == "global" and counted and not isinstance(rule, Lasso) and self._can_choose(counted):
            target = pool_target(rule, pool([fold(one.by_neurons) for one in counted]), ignore_zeros=request.ignore_zeros)
            self._pooled = choose_at(find_threshold(target, [one.by for one in counted], self._original))

    def ruled(self, check: TensorCheck, compressed: Checkpoint) -> Ruled:
        """Return what must be done to the next tensor. Errors: ReportError for a rule that no server takes."""
        told = check.report.rule or self._request_rule
        rule = math_rule(told)
        return Ruled(
            rule=rule,
            scope=told.scope,
            choose=self._choice(check, rule, told.scope),
            by=self._costs.get(check.report.name) if isinstance(rule, ErrorBudget) else None,
            removes_dead=self._request.remove_dead_neurons,
            dead=self._dead(check, compressed),
            dead_known=not self._enclosed.lacks_network,
        )

    def _choice(self, check: TensorCheck, rule: Rule, scope: str) -> Chooser | None:
        if scope not in _ONLY_SCOPE.get(type(rule), _SCOPES):
            raise ReportError(f"report: no server takes a rule of scope {scope!r} for tensor {check.report.name!r}")
        if isinstance(rule, ErrorBudget):
            return self._budget_choice(check)
        if isinstance(rule, Lasso) or not self._can_choose([check]):
            return None
        if scope == "neuron":
            return choose_by_neuron(rule, check.by, check.by_neurons, ignore_zeros=self._request.ignore_zeros)
        if scope == "layer":
            target = pool_target(rule, fold(check.by_neurons), ignore_zeros=self._request.ignore_zeros)
            return choose_at(find_threshold(target, [check.by], self._original))
        if scope == "global" and check.report.rule is None:
            return self._pooled
        raise ReportError(f"report: no server takes a rule of scope {scope!r} for tensor {check.report.name!r}")

    def _can_choose(self, checks: Sequence[TensorCheck]) -> bool:
        """Return whether what these were chosen by is at hand."""
        return not any(check.report.weighed is not None and self._enclosed.lacks_moments for check in checks)

    def _choose_by_budget(self, rule: ErrorBudget, checks: Sequence[TensorCheck], moments: Mapping[str, Moments]) -> None:
        enclosed = self._enclosed
        if enclosed.graph is None or enclosed.lacks_moments:
            return
        by_name = {check.report.name: check for check in checks}
        matrices = {name: check.matrix for name, check in by_name.items()}
        self._costs, self.cost = price(rule, enclosed, enclosed.knowledge(moments), matrices), 0.0
        if not self._costs:
            return
        priced, costs = [by_name[name] for name in self._costs], list(self._costs.values())
        stats = pool([fold(check.neurons) for check in priced])
        kept = sum(check.report.allocation.kept for check in priced if check.report.allocation)
        ignore_zeros = self._request.ignore_zeros
        threshold = choose_cheapest(rule, costs, stats, self._original, kept=kept, ignore_zeros=ignore_zeros)
        self._pooled = choose_at(threshold)
        self.cost = cost_of(costs, self._original, threshold)

    def _budget_choice(self, check: TensorCheck) -> Chooser | None:
        if self.cost is None:
            return None
        return self._pooled if check.report.name in self._costs else _keep_all

    def _dead(self, check: TensorCheck, compressed: Checkpoint) -> Flags | None:
        """Return the neurons that must be gone: as the network tells, or as it looks without it."""
        if not self._request.remove_dead_neurons:
            return None
        if self._enclosed.lacks_network:
            return zero_rows(check.matrix, compressed)
        return self._enclosed.dead.get(check.report.name)


def _keep_all(magnitudes: Array) -> Mask:
    return magnitudes < 0
