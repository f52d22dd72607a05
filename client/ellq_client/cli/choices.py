"""From words on the command line to rules and overrides."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ellq_client.requests import Override
    from ellq_client.rules import Rule

REQUIRED = None

SCOPES = ("neuron", "layer", "global")
NONFINITE = ("refuse", "pass-through")
ENCODINGS = ("dense", "packed")

GRADES = ("mean-square", "box")

RULE_OPTIONS: dict[str, dict[str, float | int | str | bool | None]] = {
    "sparsity-index": {"q": 0.5, "eta": 0.0},
    "pq-index": {"p": 0.5, "q": 1.0, "eta": 0.0, "gamma": 1.0, "beta": 0.9},
    "tail": {"epsilon": REQUIRED, "p": 2},
    "lq-bound": {"epsilon": REQUIRED, "q": 0.5, "p": 2},
    "fraction": {"ratio": REQUIRED},
    "n-of-m": {"n": 2, "m": 4},
    "error-budget": {"max-error": None, "ratio": None, "grade": "mean-square", "measured": False},
    "lasso": {"epsilon": REQUIRED},
}
"""The options of each rule and their defaults on the command line."""

OPTIONAL = {("error-budget", "max-error"), ("error-budget", "ratio")}
"""Options without a default that are not required: of these two exactly one is."""

_SCOPES = {"error-budget": "global"}
"""Scopes of the rules that count something else than neurons by default."""

_FIELDS = {"ratio": "pruned_ratio", "max-error": "max_error"}
_WORDS = {"grade": GRADES}
_WHOLE_NUMBERS = {("tail", "p"), ("lq-bound", "p"), ("n-of-m", "n"), ("n-of-m", "m")}


def rule_of(name: str, given: Mapping[str, Any], *, scope: str | None) -> "Rule":
    """Return the rule with the options that were given. Errors: BadParameter naming the option that is wrong."""
    from ellq_client.rules import RULES

    name = one_of(tuple(RULE_OPTIONS), name, option="--rule")
    if scope is not None:
        scope = one_of(SCOPES, scope, option="--scope")
    options = RULE_OPTIONS[name]
    given_options = {option: value for option, value in given.items() if value is not None and value is not False}
    for option in given_options:
        if option not in options:
            has = ", ".join(f"--{known}" for known in options)
            raise typer.BadParameter(f"the rule {name} has no such option; it has {has}", param_hint=f"--{option}")
    for option, default in options.items():
        if option not in given_options and default is REQUIRED and (name, option) not in OPTIONAL:
            raise typer.BadParameter(f"the rule {name} needs it", param_hint=f"--{option}")
    if name == "error-budget" and ("max-error" in given_options) == ("ratio" in given_options):
        raise typer.BadParameter("the rule error-budget needs it or --ratio, one of the two", param_hint="--max-error")
    values = {**options, **given_options}
    fields: dict[str, Any] = {_FIELDS.get(option, option): _value(name, option, value) for option, value in values.items()}
    return RULES[name.replace("-", "_")](**fields, scope=scope or _SCOPES.get(name, "neuron"))


def one_of(known: Sequence[str], word: str, *, option: str) -> str:
    """Return the word as it is known: underscores, as reports have them, do for hyphens.

    Errors: BadParameter with the words that are known, and the one that was probably meant.
    """
    hyphened = word.replace("_", "-")
    if hyphened not in known:
        raise typer.BadParameter(f"{word!r} is not one of {', '.join(known)}{_meant(word, known)}", param_hint=option)
    return hyphened


def _meant(word: str, known: Sequence[str]) -> str:
    """Return a question about the known word that is nearest, such as one in small letters; nothing when none is near."""
    from difflib import get_close_matches

    nearest = get_close_matches(word.strip().lower().replace("_", "-"), known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def override_of(text: str) -> "Override":
    """Return the override that GLOB=TREATMENT says. Errors: BadParameter quoting the text.

    TREATMENT is `skip`, `axis:0,1`, or a rule with its options: `tail:epsilon=0.01,scope=layer`.
    """
    from ellq_client.requests import Override

    glob, equals, treatment = text.partition("=")
    word, _, details = treatment.partition(":")
    try:
        if equals and treatment == "skip":
            return Override(glob, skip=True)
        if word == "axis":
            return Override(glob, neuron_axis=tuple(_axis(axis) for axis in details.split(",")))
        if word.replace("_", "-") in RULE_OPTIONS:
            options = dict(_assignment(item) for item in details.split(",") if item)
            scope = options.pop("scope", None)
            return Override(
                glob, rule=rule_of(word, {name: _read(name, value) for name, value in options.items()}, scope=scope)
            )
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--override") from error
    meant = _meant(word, ("skip", "axis", *RULE_OPTIONS))
    forms = "GLOB=skip, GLOB=axis:1 or GLOB=RULE:option=value,..."
    raise typer.BadParameter(f"{text!r} is not {forms}{meant}", param_hint="--override")


def overrides_of(texts: Sequence[str]) -> "list[Override]":
    """Return the overrides in the order of the command line."""
    return [override_of(text) for text in texts]


def _assignment(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise ValueError(f"{item!r} is not option=value")
    return name, value


def _axis(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"{text!r} is not the number of an axis; the first is 0")
    return int(text)


def _read(name: str, text: str) -> float | str:
    if name in _WORDS:
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, which is no number") from None


def _value(rule: str, option: str, value: Any) -> float | int | str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if option in _WORDS:
        return one_of(_WORDS[option], value, option=f"--{option}").replace("-", "_")
    value = float(value)
    if (rule, option) not in _WHOLE_NUMBERS:
        return value
    if not value.is_integer():
        raise typer.BadParameter(f"{value:g} is not a whole number", param_hint=f"--{option}")
    return int(value)
