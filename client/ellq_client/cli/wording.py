"""Words for a terminal: what a stranger wrote is made harmless, and what the SDK says is said in options."""

import re

from ellq_client.cli.choices import RULE_OPTIONS

_OVERRIDE = re.compile(r"\b(?:options\.)?selection\.overrides\b(?:\[(?P<place>\d+)\])?(?:\.(?P<path>[a-z_]+(?:\.[a-z_]+)*))?")
_RULE = re.compile(r"\b(?:options\.)?rule\.(?:[a-z_]+\.)?(?P<name>[a-z_]+)\b")
_SCOPE = re.compile(r"\bSCOPE_([A-Z]+)\b")
_GRADE = re.compile(r"\bGRADE_([A-Z_]+)\b")
_OPTIONS = {"pruned_ratio": "ratio", "max_error": "max-error"}
_WORDS = {
    r"\boptions\.rule\b": "--rule",
    r"\b(?:options\.)?indices\.q\b": "--index-q",
    r"\b(?:options\.)?indices\.pq_[pq]\b": "--index-pq",
    r"\b(?:options\.)?selection\.(include|exclude)\b": r"--\1",
    r"\boptions\.nonfinite\b": "--nonfinite",
    r"\bnonfinite=pass_through\b": "--nonfinite pass-through",
    r"\b(?:options\.)?network\.inputs\.box(?:\.(?:low|high))?\b": "--box",
    r"\b(?:options\.)?network\.inputs\.l2_radius\b": "--l2-radius",
    r"\b(?:options\.)?network\.inputs\.margins\b": "--margins",
    r"\boptions\.source_uri\b": "PATH",
    r"\boptions\.output_uri\b": "--output",
    r"\boptions\.replace_output\b": "--force",
    r"\boptions\.network\b(?:\.topology\b)?": "--network",
    r"\b(?:options\.)?remove_dead_neurons\b": "--remove-dead-neurons",
    r"\b(?:set |options\.)?magnitudes_only\b": "--magnitudes-only",
    r"needs moments, which come in frames before the data": "needs moments: give --moments FILE",
    r"\bsee the plans for the reason of each\b": "`untouched` tells why",
    r"`include` to take in\b": "--include takes in",
    r"\bwhatever include and overrides say\b": "whatever --include and --override say",
    r"\(timeout_seconds\)": "(--timeout)",
    r"\(target\)": "(--server)",
    r"\btls\.(ca|certificate|key)_file\b": r"--tls-\1",
    r"\btls\.server_name\b": "--tls-server-name",
    r"\btls=Tls\(\)|\btls\b(?= \()": "--tls",
    r"\bthe files of tls\b": "the files of --tls-ca, --tls-certificate and --tls-key",
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
    message = _RULE.sub(_rule, message)
    message = _GRADE.sub(lambda found: f"grade {found[1].lower().replace('_', '-')}", message)
    message = _SCOPE.sub(lambda found: found[1].lower(), message)
    for field, option in _WORDS.items():
        message = re.sub(field, option, message)
    return message


def _rule(found: re.Match[str]) -> str:
    name = found["name"]
    kind = name.replace("_", "-")
    return f"--rule {kind}" if kind in RULE_OPTIONS else f"--{_OPTIONS.get(name, name)}"


def _override(found: re.Match[str]) -> str:
    place = "" if found["place"] is None else f" number {int(found['place']) + 1}"
    last = "" if found["path"] is None else f", {found['path'].rpartition('.')[2]}"
    return f"--override{place}{last}"
