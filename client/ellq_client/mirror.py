"""From protobuf messages to frozen values, by the names of their fields.

A value class mirrors a message when its field names are those of the message. Messages become values, repeated fields tuples,
enums lower-case words, bytes hexadecimal text; whatever is absent or unspecified becomes None. The contract has infinities, but
no NaN and nothing below every number: those are a ProtocolError.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import inf
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from ellq_client.contract import expect
from ellq_client.errors import InvalidRequest

Value = TypeVar("Value")
Reader = Callable[[Message], Any]


def mirror(kind: type[Value], message: Message) -> Value:
    """Return the value of class `kind` that mirrors the message."""
    return kind(**{name: read(message) for name, read in _readers(kind, message.DESCRIPTOR)})


def mirror_field(kind: type[Value], message: Message, name: str) -> Value | None:
    """Return the mirror of a message inside the message, None when it is absent."""
    return mirror(kind, getattr(message, name)) if message.HasField(name) else None


def check_numbers(numbers: Iterable[float], what: str) -> None:
    """Refuse NaN, and what is below every number. Errors: ProtocolError."""
    wrong = next((number for number in numbers if not number > -inf), None)
    expect(wrong is None, f"{what} is {wrong}")


def wire_name(name: str) -> str:
    """Return the contract's name of a value's field: `global_` gives way to a Python keyword."""
    return name.rstrip("_")


def enum_word(enum: EnumDescriptor, number: int) -> str | None:
    """Return the name of an enum value in lower case without its prefix; None when it is unspecified.

    A value that only a newer contract knows is its number as text.
    """
    if number == 0:
        return None
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(_prefix(enum)).lower()


def enum_name(enum: EnumDescriptor, word: str) -> str:
    """Return the contract's name of an enum value from its word. Errors: InvalidRequest, naming the words that are known."""
    words = {enum_word(enum, value.number): value.name for value in enum.values if value.number}
    if word not in words:
        known = ", ".join(str(known) for known in words)
        raise InvalidRequest(f"{enum.name} {word!r} is not one of {known}", reason="INVALID_ENUM")
    return words[word]


@lru_cache(maxsize=256)
def _readers(kind: type[Any], descriptor: Any) -> tuple[tuple[str, Reader], ...]:
    hints = get_type_hints(kind)
    return tuple((name, _reader(descriptor.fields_by_name[wire_name(name)], hint)) for name, hint in hints.items())


def _reader(field: FieldDescriptor, hint: Any) -> Reader:
    name = field.name
    if field.is_repeated:
        return lambda message: tuple(_single(field, hint, item) for item in getattr(message, name))
    if field.has_presence:
        return lambda message: _single(field, hint, getattr(message, name)) if message.HasField(name) else None
    return lambda message: _single(field, hint, getattr(message, name))


def _single(field: FieldDescriptor, hint: Any, item: Any) -> Any:
    if field.message_type is not None:
        return mirror(_value_class(hint), item)
    if field.enum_type is not None:
        return enum_word(field.enum_type, item)
    if isinstance(item, float):
        check_numbers((item,), field.full_name)
    return item.hex() if isinstance(item, bytes) else item


def _value_class(hint: Any) -> type[Any]:
    """Return the class inside `Class | None` or `tuple[Class, ...]`."""
    if get_origin(hint) in (Union, UnionType, tuple):
        return next(part for part in get_args(hint) if part not in (type(None), Ellipsis))
    return hint


def _prefix(enum: EnumDescriptor) -> str:
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
