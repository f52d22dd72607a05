"""Which PyTorch tensors are views of the same memory. No torch is imported: tensors know it themselves."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any


def same_memory(tensors: Mapping[str, Any], *, prefer: Callable[[str], bool]) -> dict[str, str]:
    """Return for every name the one under which its tensor goes: the first of those that share it, or the first preferred.

    Tied weights are one tensor with several names; a table of rows stays one whatever it is called elsewhere.
    """
    groups: defaultdict[Any, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        groups[_identity(name, tensor)].append(name)
    owners = {name: next(filter(prefer, names), names[0]) for names in groups.values() for name in names}
    return {name: owners[name] for name in tensors}


def overlapping(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of tensors that share memory with another one, or with themselves, and with which."""
    found: dict[str, str] = {}
    furthest: dict[int, tuple[int, str]] = {}
    filled = [(_extent(tensor), name) for name, tensor in tensors.items() if tensor.numel()]
    for (storage, begin, end), name in sorted(filled):
        before_end, before = furthest.get(storage, (0, name))
        if begin < before_end:
            found |= {name: before, before: found.get(before, name)}
        furthest[storage] = max((end, name), (before_end, before))
        if _repeats(tensors[name]):
            found[name] = name
    return found


def _identity(name: str, tensor: Any) -> Any:
    if not tensor.numel():
        return name  # nothing to share: all empty storages lie at address 0
    return _extent(tensor), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride())


def _extent(tensor: Any) -> tuple[int, int, int]:
    """Return the address of the storage and which of its bytes a tensor lies between."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    begin = tensor.storage_offset() * tensor.element_size()
    return tensor.untyped_storage().data_ptr(), begin, begin + (reach + 1) * tensor.element_size()


def _repeats(tensor: Any) -> bool:
    """Return whether elements may share memory, as after expand() or in windows that slide by less than their width.

    They cannot when every axis steps over all that the faster ones reach.
    """
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += (size - 1) * stride
    return False
