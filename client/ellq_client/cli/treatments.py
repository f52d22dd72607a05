"""What is done to which tensors, and why."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from ellq_client.counting import counted, counted_of, grouped
from ellq_client.results import Analysis
from ellq_client.values import TensorReport

_REASONS = {
    "dtype": "no floating point weights that the server compresses",
    "dimensions": "fewer than two dimensions",
    "empty": "no weights",
    "name": "tables of rows by their name; --include takes them in",
    "excluded": "excluded",
    "skipped": "skipped by an override",
    "nonfinite": "NaN or infinity",
    "quantized": "parts of quantised layers, which stay as they are",
    "scale": "scales of 8-bit weights",
    "scale_unusable": "8-bit weights whose scale comes after them, is in another stream, or is of no known kind",
}


def untouched(result: Analysis) -> list[str]:
    """Return how many tensors are left alone, and why, in one line."""
    reasons = Counter(tensor.reason for tensor in result.tensors if tensor.measurement is None)
    if not reasons:
        return []
    told = "; ".join(f"{grouped(count)}: {_REASONS.get(reason or '', reason)}" for reason, count in reasons.most_common())
    return ["", f"untouched  {counted_of(reasons.total(), len(result.tensors), 'tensor')} ({told})"]


def explained(result: Analysis, *, most_names: int) -> list[str]:
    """Return why tensors are left alone or laid out otherwise than (out, in), and what was not sent; a line for each reason.

    `most_names` is how many names each reason gets.
    """
    alone = [tensor for tensor in result.tensors if tensor.measurement is None]
    turned = [tensor for tensor in result.tensors if tensor.measurement is not None and tensor.neuron_axis != (0,)]
    lines: list[str] = []
    if turned:
        lines += ["", f"laid out   {counted_of(len(turned), len(result.tensors), 'tensor')} otherwise than (out, in)"]
        lines += _grouped({tensor.name: _axes(tensor, result) for tensor in turned}, most_names)
    if alone:
        lines += ["", f"untouched  {counted_of(len(alone), len(result.tensors), 'tensor')}"]
        lines += _grouped({tensor.name: _reason(tensor, result) for tensor in alone}, most_names)
    if result.not_sent:
        lines += ["", f"not sent   {counted(len(result.not_sent), 'part')} of the file"]
        lines += _grouped(result.not_sent, most_names)
    return lines


def _reason(tensor: TensorReport, result: Analysis) -> str:
    by_layout = tensor.reason == "skipped" and tensor.name in result.notes
    return result.notes[tensor.name] if by_layout else _REASONS.get(tensor.reason or "", tensor.reason or "")


def _axes(tensor: TensorReport, result: Analysis) -> str:
    axes = ", ".join(map(str, tensor.neuron_axis))
    return f"neurons along axis {axes}: {result.notes.get(tensor.name, 'as the request says')}"


def _grouped(reasons: Mapping[str, str], most_names: int) -> list[str]:
    """Return a line for each reason, with the names of what it holds for."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        names[reason].append(name)
    return [f"           {grouped(len(those))}: {reason}: {_listed(those, most_names)}" for reason, those in names.items()]


def _listed(names: list[str], most: int) -> str:
    more = f", ... and {grouped(len(names) - most)} more; --json has them all" if len(names) > most else ""
    return ", ".join(names[:most]) + more
