"""The steps of a network that have neurons."""

from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.topology import Step


def layer_of(step: Step) -> Linear | Conv:
    """Return the operation of a step with weights. Errors: TypeError for any other."""
    if not isinstance(step.node.operation, Linear | Conv):
        raise TypeError(f"node {step.node.name!r} has no weights")
    return step.node.operation
