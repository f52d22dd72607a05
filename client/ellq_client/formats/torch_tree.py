"""What hangs where in the document that a PyTorch file is: dicts and lists, with tensors for leaves. No torch is imported."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

Keys: TypeAlias = tuple[str, ...]
"""Those that lead to a place in the document, from its top."""

_WRAPPERS = {"state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights"}
"""Keys that say only that what follows is the model."""

_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_OPTIMIZER = {"state", "param_groups"}


def tensors_by_keys(document: Any, tensor_type: type) -> list[tuple[Keys, Any]]:
    """Return every tensor with the keys that lead to it, without those that say nothing."""
    found = [(keys, leaf) for keys, leaf in _leaves(document, ()) if isinstance(leaf, tensor_type)]
    while found and len({keys[0] for keys, _ in found if keys}) == 1 and all(len(keys) > 1 for keys, _ in found):
        if found[0][0][0] not in _WRAPPERS:
            break
        found = [(keys[1:], leaf) for keys, leaf in found]
    return found


def drop_optimizers(document: Any, keys: Keys = ()) -> list[str]:
    """Remove the state of optimizers, in place, and return where it was."""
    if isinstance(document, list | tuple):
        return [name for place, value in _indexed(document) for name in drop_optimizers(value, (*keys, place))]
    if not isinstance(document, dict):
        return []
    dropped: list[str] = []
    mapping = cast(dict[Any, Any], document)
    for key in list(mapping):
        below = (*keys, str(key))
        if is_optimizer(mapping[key]):
            del mapping[key]
            dropped.append(".".join(below))
        else:
            dropped += drop_optimizers(mapping[key], below)
    return dropped


def _leaves(value: Any, keys: Keys) -> Iterator[tuple[Keys, Any]]:
    if isinstance(value, Mapping):
        mapping = cast(Mapping[Any, Any], value)
        prefix = _common_prefix([str(key) for key in mapping])
        for key, below in mapping.items():
            yield from _leaves(below, (*keys, str(key).removeprefix(prefix)))
    elif isinstance(value, list | tuple):
        for place, below in _indexed(value):
            yield from _leaves(below, (*keys, place))
    else:
        yield keys, value


def _common_prefix(keys: list[str]) -> str:
    prefix = ""
    while keys and (more := next((one for one in _PREFIXES if all(key.startswith(prefix + one) for key in keys)), "")):
        prefix += more
    return prefix


def is_optimizer(value: Any) -> bool:
    """Return whether this is the state_dict of an optimizer, or a list of such."""
    if isinstance(value, dict):
        return cast(dict[Any, Any], value).keys() >= _OPTIMIZER
    listed = _indexed(value) if isinstance(value, list | tuple) else []
    return bool(listed) and all(is_optimizer(one) for _, one in listed)


def _indexed(values: Any) -> list[tuple[str, Any]]:
    return [(str(place), value) for place, value in enumerate(values)]
