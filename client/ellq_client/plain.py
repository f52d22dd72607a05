"""Between frozen values and what JSON can hold.

Values become objects by field name, tuples lists, rules objects with their `kind`. Infinity, which strict JSON lacks, becomes
the text "Infinity". Reading is as strict as the types of the fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from math import inf
from sys import float_info
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ellq_client.errors import ReportError
from ellq_client.mirror import wire_name
from ellq_client.rules import RULES, Rule

Value = TypeVar("Value")

INFINITY = "Infinity"


def to_plain(value: Any) -> Any:
    """Return the value as dicts, lists, strings, numbers, booleans and None."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {wire_name(field.name): to_plain(getattr(value, field.name)) for field in fields(value)}
        return {"kind": value.kind, **plain} if isinstance(value, Rule) else plain
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return INFINITY if value == inf else value


def from_plain(kind: Any, plain: Any, *, path: str) -> Any:
    """Return the value of type `kind` that `plain` holds. Errors: ReportError naming the path of what does not fit."""
    if kind == Rule:
        kind, plain = _read_kind(plain, path=path)
    if is_dataclass(kind):
        return _read_dataclass(kind, plain, path=path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if plain is None and type(None) in arguments:
            return None
        return from_plain(_present(kind), plain, path=path)
    if origin in (tuple, Sequence):
        return _read_tuple(arguments if origin is tuple else (*arguments, Ellipsis), plain, path=path)
    if origin is Literal and plain in arguments:
        return plain
    if kind is float and (plain == INFINITY or (type(plain) is int and abs(plain) <= float_info.max)):  # bool is an int too
        return float(plain)
    if isinstance(kind, type) and isinstance(plain, kind) and (kind is bool or not isinstance(plain, bool)):
        return plain
    raise ReportError(f"{path}: {plain!r} is not what belongs there")


def _read_dataclass(kind: Any, plain: Any, *, path: str) -> Any:
    given = _mapping(plain, path=path)
    hints = _hints(kind)
    unknown = given.keys() - {wire_name(name) for name in hints}
    if unknown:
        raise ReportError(f"{path}: unknown field {min(unknown)!r}")
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = wire_name(field.name)
        if name in given:
            values[field.name] = from_plain(hints[field.name], given[name], path=f"{path}.{name}")
        elif field.default is MISSING:
            raise ReportError(f"{path}: field {name!r} is missing")
    return kind(**values)


def _read_kind(plain: Any, *, path: str) -> tuple[type[Rule], dict[str, Any]]:
    given = dict(_mapping(plain, path=path))
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in RULES:
        raise ReportError(f"{path}.kind: {kind!r} is not one of {', '.join(RULES)}")
    return RULES[kind], given


def _read_tuple(arguments: tuple[Any, ...], plain: Any, *, path: str) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise ReportError(f"{path}: {plain!r} is not a list")
    items: list[Any] = plain  # pyright: ignore[reportUnknownVariableType]
    if arguments[-1] is not Ellipsis and len(items) != len(arguments):
        raise ReportError(f"{path}: {len(arguments)} entries belong there, not {len(items)}")
    kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else arguments
    return tuple(
        from_plain(kind, item, path=f"{path}[{place}]") for place, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _mapping(plain: Any, *, path: str) -> Mapping[str, Any]:
    if not isinstance(plain, dict):
        raise ReportError(f"{path}: {plain!r} is not an object")
    return plain  # pyright: ignore[reportUnknownVariableType]


def _present(kind: Any) -> Any:
    """Return `Kind` of `Kind | None`, where Kind itself can be the union of all rules."""
    present = [part for part in get_args(kind) if part is not type(None)]
    return present[0] if len(present) == 1 else Rule


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)  # those of class variables, such as the kind of a rule, among them
    return {field.name: hints[field.name] for field in fields(kind)}
