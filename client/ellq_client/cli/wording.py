"""Words for a terminal: what a stranger wrote is made harmless, and what the SDK says is said in options."""

import re

_OVERRIDE = re.compile(r"\b(?:options\.)?selection\.overrides\b(?:\[(?P<place>\d+)\])?(?:\.(?P<path>[a-z_]+(?:\.[a-z_]+)*))?")
_RULE = re.compile(r"\b(?:options\.)?rule\.(?:[a-z_]+\.)?(?P<name>[a-z_]+)\b")
_SCOPE = re.compile(r"\bSCOPE_([A-Z]+)\b")
_OPTIONS = {"pruned_ratio": "ratio"}
_WORDS = {
    r"\boptions\.rule\b": "--rule",
    r"\b(?:options\.)?indices\.q\b": "--index-q",
    r"\b(?:options\.)?indices\.pq_[pq]\b": "--index-pq",
    r"\b(?:options\.)?selection\.(include|exclude)\b": r"--\1",
    r"\boptions\.nonfinite\b": "--nonfinite",
    r"\bnonfinite=pass_through\b": "--nonfinite pass-through",
    r"\(timeout_seconds\)": "(--timeout)",
    r"\(target\)": "(--server)",
}


def harmless(text: str) -> str:
    """Return the text with everything that a terminal might obey written as an escape; lines stay lines."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


def shortened(text: str, width: int) -> str:
    """Return the text in at most `width` characters: both of its ends, with an ellipsis between them."""
    if len(text) <= width:
        return text
    front = (width - 1) // 2
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"


def in_options(message: str) -> str:
    """Return a message of the SDK or the server with the names of options in place of fields."""
    message = _OVERRIDE.sub(_override, message)
    message = _RULE.sub(lambda found: f"--{_OPTIONS.get(found['name'], found['name'])}", message)
    message = _SCOPE.sub(lambda found: found[1].lower(), message)
    for field, option in _WORDS.items():
        message = re.sub(field, option, message)
    return message


def _override(found: re.Match[str]) -> str:
    place = "" if found["place"] is None else f" number {int(found['place']) + 1}"
    last = "" if found["path"] is None else f", {found['path'].rpartition('.')[2]}"
    return f"--override{place}{last}"
