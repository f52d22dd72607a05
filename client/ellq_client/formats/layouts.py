"""How tensors lie where a format does otherwise than (out, in), and which of them hold no weights of layers."""

import fnmatch
import glob
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Where one tensor departs from the defaults."""

    why: str
    """For a person, such as "an ONNX MatMul stores (in, out)"."""
    neuron_axis: tuple[int, ...] = ()
    """The axes that number the neurons. Empty: axis 0, or left alone."""
    left_alone: bool = False
    """Whether it passes through untouched unless it is asked for by name."""

    def same_treatment(self, other: "Layout | None") -> bool:
        """Return whether another tensor is to be treated alike; None: by the defaults."""
        return other is not None and (self.neuron_axis, self.left_alone) == (other.neuron_axis, other.left_alone)


def left_alone(why: str) -> Layout:
    """Return the layout of a tensor that passes through."""
    return Layout(why, left_alone=True)


def globs_of(layouts: Mapping[str, Layout], names: Iterable[str]) -> dict[str, Layout]:
    """Return few globs that give every name its layout, and give none to the others.

    Numbers become * where all names of that kind are treated alike: a request holds a thousand globs, a model more layers.
    """
    all_names = tuple(names)
    found: dict[str, Layout] = {}
    for name, layout in layouts.items():
        wide = "*".join(glob.escape(part) for part in re.split(r"\d+", name))
        if wide in found and layout.same_treatment(found[wide]):
            continue
        matched = fnmatch.filter(all_names, wide) if wide not in found else []
        alike = bool(matched) and all(layout.same_treatment(layouts.get(other)) for other in matched)
        found[wide if alike else glob.escape(name)] = layout
    return found
