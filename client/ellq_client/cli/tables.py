"""What a result looks like to a person."""

import sys
from decimal import ROUND_CEILING, Decimal
from math import prod
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ellq_client.certificates import NetworkCertificate
from ellq_client.cli.treatments import explained, untouched
from ellq_client.cli.wording import harmless, in_options, shortened
from ellq_client.counting import counted, counted_of, grouped
from ellq_client.formats import family_of
from ellq_client.report import FolderCompression
from ellq_client.results import Analysis, Compression
from ellq_client.rules import ErrorBudget, Fraction, Lasso, LqBound, NOfM, PqIndex, Rule, SparsityIndex, Tail
from ellq_client.values import Summary, TensorReport

_MOST_ROWS = 500
_MOST_NAMES = 500
_FEW_NAMES = 3
"""Names for each reason, where a person reads them; whatever else reads gets most of them."""
_PLAIN_WIDTH = 160
_LEAST_NAME_WIDTH = 12
_FIRST_NUMBER = 3
_GAP = 2

_PROMISES: dict[type[Rule], str] = {
    SparsityIndex: "A necessary count: the rule promises nothing about the error.",
    PqIndex: "A necessary count: the rule promises nothing about the error.",
    Tail: "Guaranteed: what was cut is at most epsilon of the norm of each {scope}.",
    LqBound: "Guaranteed before looking: what was cut is at most epsilon of the norm of each {scope}.",
    Fraction: "A fixed share: the rule promises nothing about the error.",
    NOfM: "A fixed pattern: the rule promises nothing about the error.",
    ErrorBudget: "Guaranteed: {grade}.",
    Lasso: "Guaranteed under the moments: no neuron's sum loses more than epsilon of its root mean square.",
}
_SHARE_AT_LEAST_COST = "A fixed share at the least cost: the rule promises no error beforehand."
_BUDGETS = {
    "mean_square": "the root mean square of no output's change, over the distribution of the moments, exceeds the budget",
    "box": "for every input in the stated box no output moves by more than the budget",
}
_WENT_BY = "Of tensors with moments the choice went by |w| s, s the root of the second moment of the input."
_SHOWN = "SI, PQI and error are those of the weights w; the indices of |w| s are `weighed` in the report of --json."


class Screen:
    """Where results are shown."""

    def __init__(self, *, to_stderr: bool) -> None:
        """Show on standard output, or on standard error when that is taken."""
        stream = sys.stderr if to_stderr else sys.stdout
        self._console = Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH, highlight=False, soft_wrap=True)

    def show(self, result: Analysis) -> None:
        """Show the tensors, then the totals."""
        measured = [tensor for tensor in result.tensors if tensor.measurement is not None]
        if measured:
            self._console.print(_tensor_table(measured[:_MOST_ROWS], result, width=self._console.width))
        if len(measured) > _MOST_ROWS:
            self._say(f"... and {counted(len(measured) - _MOST_ROWS, 'more tensor')}; --json has them all")
        most_names = _FEW_NAMES if self._console.is_terminal else _MOST_NAMES
        for line in untouched(result) if isinstance(result, Compression) else explained(result, most_names=most_names):
            self._say(line)
        for line in _totals(result):
            self._say(line)
        for warning in result.warnings:
            self._say(f"warning: {in_options(warning.text)}")

    def _say(self, text: str) -> None:
        self._console.print(harmless(text), markup=False)


def _tensor_table(tensors: list[TensorReport], result: Analysis, *, width: int) -> Table:
    """Return a table in which only names give way, in their middle, when the screen is narrow."""
    orders = result.indices
    heads = ["tensor", "shape", "dtype", f"SI_{orders.q:g}", f"PQI_{orders.pq_p:g},{orders.pq_q:g}"]
    if any(tensor.allocation is not None for tensor in tensors):
        heads += ["kept", "zeros", "error"]
    rows = [_cells(tensor) for tensor in tensors]
    others = sum(max(map(len, column)) + _GAP for column in list(zip(heads, *rows, strict=True))[1:])
    name_width = max(width - others, _LEAST_NAME_WIDTH)
    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place >= _FIRST_NUMBER else "left", no_wrap=True)
    for name, *numbers in rows:
        table.add_row(Text(shortened(name, name_width)), *numbers)
    return table


def _cells(tensor: TensorReport) -> list[str]:
    assert tensor.measurement is not None
    layer = tensor.measurement.layer
    cells = [harmless(tensor.name), "x".join(map(str, tensor.shape)), tensor.dtype]
    cells += [f"{layer.sparsity_index:.3f}", f"{layer.pq_index:.4f}"]
    if tensor.allocation is not None and tensor.certificate is not None and tensor.pruned_ratio is not None:
        cells += [grouped(tensor.allocation.kept), f"{tensor.pruned_ratio:.1%}", _bound(tensor.certificate.frobenius_ratio)]
    return cells


def _totals(result: Analysis) -> list[str]:
    summary = result.summary
    measured = f"{counted_of(summary.compressible_tensors, summary.tensors, 'tensor')}, {counted(summary.weights, 'weight')}"
    if not summary.compressible_tensors:
        measured += ": nothing is compressible; `untouched` tells why"
    lines = ["", f"measured   {measured}"]
    if summary.global_ is not None:
        indices = summary.global_
        lines.append(f"together   SI {indices.sparsity_index:.4g}, PQI {indices.pq_index:.4f}")
    if result.rule is not None:
        lines += _cost(summary, numbers=sum(prod(tensor.shape) for tensor in result.tensors))
        if summary.compressible_tensors:
            lines.append(f"           {_promise(result.rule)}")
        if summary.compressible_tensors and result.request.moments_sha256 is not None and not result.request.magnitudes_only:
            chosen = [] if isinstance(result.rule, ErrorBudget | Lasso) else [_WENT_BY]
            lines += [f"           {sentence}" for sentence in (*chosen, _SHOWN)]
        lines += _network(result.network)
    dead = sum(tensor.allocation.dead_neurons or 0 for tensor in result.tensors if tensor.allocation is not None)
    if dead:
        lines.append(f"dead       {counted(dead, 'neuron')} without any use left: cut; `ellq shrink` takes such out for good")
    return lines + (_written(result) if isinstance(result, Compression) else [])


def _written(result: Compression) -> list[str]:
    """Return where the weights are, and how many bytes."""
    cut = (
        "cut weights are stored as zeros" if result.summary.compressible_tensors else "nothing was cut, all is as in the source"
    )
    if result.stored is not None:
        return [f"written    {result.stored.uri} by the server, {grouped(result.stored.length_bytes)} bytes as before: {cut}"]
    if result.output is None:
        return []
    same = family_of(Path(result.source.name)) is None  # what was of another format had another size
    size = f"{grouped(result.header_bytes + result.payload_bytes)} bytes{' as before' if same else ''}"
    told = size if family_of(result.output) is None else "all else as in the source"
    stored = f"{told}: {cut}" if result.packed is None else result.packed.told()
    if isinstance(result, FolderCompression) and result.confirmed:
        again = "           it was finished already: every byte was checked, and nothing was done"
        return [f"confirmed  {result.output}, {stored}", again]
    return [f"written    {result.output}, {stored}"]


def _cost(summary: Summary, *, numbers: int) -> list[str]:
    if not summary.weights or summary.kept is None or summary.zeros_after is None:
        return []
    return [
        f"kept       {grouped(summary.kept)} weights ({summary.kept / summary.weights:.2%})",
        f"zeros      {grouped(summary.zeros_before)} before, {grouped(summary.zeros_after)} after "
        f"({summary.zeros_after / summary.weights:.2%} of the measured weights)",
        f"           that is {summary.zeros_after / numbers:.2%} of all {grouped(numbers)} numbers in the file",
        f"error      the weights moved by at most {_bound(summary.frobenius_ratio or 0.0)} of their Frobenius norm, "
        "measured and rounded up",
    ]


def _promise(rule: Rule) -> str:
    if isinstance(rule, ErrorBudget):
        return _PROMISES[ErrorBudget].format(grade=_BUDGETS[rule.grade]) if rule.pruned_ratio is None else _SHARE_AT_LEAST_COST
    return _PROMISES[type(rule)].format(scope=_population(rule))


def _network(certificate: NetworkCertificate | None) -> list[str]:
    """Return what is promised of the whole network, a sentence a line."""
    if certificate is None:
        return []
    if not certificate.grades:
        first, *others = certificate.told()
        return [f"network    {first}", *(f"           {sentence}" for sentence in others)]
    whose = "the output" if certificate.reaches_output else "NOT the output"
    speaks = f"network    speaks of node {certificate.node!r}, {whose}; the smallest error is that of {certificate.tightest}"
    return [speaks, *(f"           {sentence}" for sentence in certificate.told())]


def _population(rule: Rule) -> str:
    return {"neuron": "neuron", "layer": "tensor"}.get(rule.scope, "population, all measured tensors as one")


def _bound(value: float) -> str:
    """Return an upper bound with four decimals, rounded up: it must stay one on the screen."""
    return str(Decimal(value).quantize(Decimal("0.0001"), rounding=ROUND_CEILING))
