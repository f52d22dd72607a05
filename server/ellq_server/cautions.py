"""What there is to warn of: quantised layers, 8-bit weights whose scales are missing or unknown, and what is not finite."""

from collections.abc import Iterator

from ellq.v1 import compression_pb2 as pb
from ellq_server.planning import Plan, Planning
from ellq_server.refusals import shorten


def cautions(planning: Planning) -> Iterator[pb.Warning]:
    """Yield the warnings of a plan, those that stand for many tensors first."""
    quantized, scales = planning.meanings.quantized, planning.meanings.scales
    for layout, layers in sorted(quantized.layers.items()):
        passed = "pass through untouched, whatever include and overrides say"
        text = f"{layers} quantised {'layer' if layers == 1 else 'layers'} ({layout}) {passed}"
        yield pb.Warning(code=pb.WARNING_CODE_QUANTIZED_PASSED_THROUGH, subject=layout, text=text)
    bare = [plan.entry.name for plan in planning.compressible if plan.widened and plan.scale is None]
    if bare:
        whose = "1 tensor of 8 bits has" if len(bare) == 1 else f"{len(bare)} tensors of 8 bits have"
        told = "what is said of it is of its" if len(bare) == 1 else "what is said of them is of their"
        text = f"{whose} no scale in this stream: {told} stored values"
        yield pb.Warning(code=pb.WARNING_CODE_STORED_VALUES, subject=shorten(bare[0]), text=text)
    for name, why in scales.unusable.items():
        text = f"tensor {shorten(repr(name))} passes through untouched, because its real values are not known: {shorten(why)}"
        yield pb.Warning(code=pb.WARNING_CODE_SCALE_UNUSABLE, subject=shorten(name), text=text)


def nonfinite(plan: Plan) -> str:
    """Return the beginning of a sentence on a tensor whose real values are not all finite: its name, and what that can be."""
    told = f"tensor {shorten(repr(plan.entry.name))} holds NaN or infinity"
    if plan.scale is None:
        return told
    return f"{told}, or has a scale (tensor {shorten(repr(plan.scale.name))}) that is not finite and above 0,"
