"""The pictures of docs/degradation.md, from the records. Colours are told apart by colour-blind readers, and by marker."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.degradation.records import Case, Duel
from tests.benchmarks.degradation.samples import grouped, harm
from tests.benchmarks.degradation.tables import moved

mpl.use("Agg")

CURVES = {
    "magnitude, layer": ("uniform magnitude", "#767676", "o"),
    "sparsity_index": ("sparsity index", "#0072b2", "^"),
    "sparsity_index, weighed": ("sparsity index, weighed", "#56b4e9", "v"),
    "lasso": ("lasso", "#009e73", "s"),
    "error_budget, mean_square, ratio": ("error budget", "#d55e00", "D"),
}
GRADES = {
    "box": ("box: largest output", "outputs_max", "#56b4e9", "v"),
    "ball": ("ball: output vector", "outputs_l2", "#0072b2", "^"),
    "mean_square": ("mean square: output vector", "outputs_l2", "#d55e00", "o"),
}
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6", "font.size": 8}


def draw(cases: Sequence[Case], duels: Sequence[Duel], folder: Path) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        _save(degradation(cases), folder / "degradation.png")
        _save(certificates(cases), folder / "certificates.png")
        _save(budgets(duels), folder / "budgets.png")


def degradation(cases: Sequence[Case]) -> Figure:
    """Draw what pruning costs on held-out samples, a panel for each model; a dot is one seed."""
    models = grouped(cases, lambda case: case.model)
    columns = 5
    rows = -(-len(models) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(11, 2.3 * rows), squeeze=False, layout="constrained")
    for panel in panels.flat[len(models) :]:
        panel.remove()
    for panel, (model, own) in zip(panels.flat, models.items(), strict=False):
        numbers = own[0].before.test_accuracy is None
        panel.set(title=model, xlim=(0, 1), xlabel="pruned", ylabel="MSE added" if numbers else "accuracy lost")
        for family, (label, colour, marker) in CURVES.items():
            found = [case for case in own if case.family == family]
            panel.scatter([one.pruned_ratio for one in found], [harm(one) for one in found], 7, colour, marker, label=label)
        panel.set_yscale("symlog", linthresh=0.01)
    _legend(figure, panels.flat[0])
    return figure


def certificates(cases: Sequence[Case]) -> Figure:
    """Draw certified against measured change: no dot lies below the diagonal."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharex=True, sharey=True, layout="constrained")
    for panel, (grade, (label, about, colour, marker)) in zip(panels, GRADES.items(), strict=True):
        promises = [case.promise(grade, about) for case in moved(cases)]
        known = [promise for promise in promises if promise is not None and promise.measured]
        panel.scatter([one.measured for one in known], [one.certified for one in known], 3, colour, marker, linewidths=0)
        panel.axline((1, 1), (10, 10), color="#333333", linewidth=0.8)
        panel.set(title=label, xscale="log", yscale="log", xlabel="measured change")
    panels[0].set_ylabel("certified change")
    return figure


def budgets(duels: Sequence[Duel]) -> Figure:
    """Draw what the error budget prunes where uniform magnitude spends the same certified error."""
    ways = grouped(duels, lambda duel: (duel.by, duel.grade))
    figure, panels = plt.subplots(1, len(ways), figsize=(11, 3), squeeze=False, sharey=True, layout="constrained")
    scopes = {"neuron": ("#0072b2", "^"), "layer": ("#d55e00", "o"), "global": ("#009e73", "s")}
    for panel, ((by, grade), found) in zip(panels.flat, sorted(ways.items()), strict=True):
        for scope, (colour, marker) in scopes.items():
            own = [duel for duel in found if duel.scope == scope]
            magnitude, budget = ([getattr(duel, name) / duel.weights for duel in own] for name in _SIDES)
            panel.scatter(magnitude, budget, 9, colour, marker, label=f"magnitude by {scope}", linewidths=0)
        panel.axline((0, 0), slope=1, color="#333333", linewidth=0.8)
        panel.set(title=f"{grade.replace('_', ' ')}, same {by}", xlim=(0, 1), ylim=(0, 1), xlabel="pruned by magnitude")
    panels.flat[0].set_ylabel("pruned by the error budget")
    _legend(figure, panels.flat[0])
    return figure


_SIDES = ("magnitude_pruned", "budget_pruned")


def _legend(figure: Figure, panel: Axes) -> None:
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=100)
    plt.close(figure)
