"""What the header alone gives cause to warn of: quantised layers, and 8-bit weights whose scales are missing or unknown."""

from collections.abc import Iterator

from ellq.v1 import compression_pb2 as pb
from ellq_server.planning import Planning
from ellq_server.refusals import shorten


def cautions(planning: Planning) -> Iterator[pb.Warning]:
    """Yield the warnings of a plan, those that stand for many tensors first."""
    packed, scales = planning.meanings.packed, planning.meanings.scales
    for packing, layers in sorted(packed.layers.items()):
        passed = "pass through untouched, whatever include and overrides say"
        text = f"{layers} quantised {'layer' if layers == 1 else 'layers'} ({packing}) {passed}"
        yield pb.Warning(code=pb.WARNING_CODE_QUANTIZED_PASSED_THROUGH, subject=packing, text=text)
    bare = [plan.entry.name for plan in planning.compressible if plan.widened and plan.scale is None]
    if bare:
        text = f"{len(bare)} tensors of 8 bits have no scale in this stream: what is said of them is of their stored values"
        yield pb.Warning(code=pb.WARNING_CODE_STORED_VALUES, subject=shorten(bare[0]), text=text)
    for name, why in scales.unusable.items():
        text = f"tensor {shorten(repr(name))} passes through untouched, because its real values are not known: {shorten(why)}"
        yield pb.Warning(code=pb.WARNING_CODE_SCALE_UNUSABLE, subject=shorten(name), text=text)
