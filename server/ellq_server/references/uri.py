"""Which text is a URI, and what it names. Strict, so that one object has one spelling and nothing hides in the rest.

Never percent-decoded, never resolved: what is compared with the prefixes is what is opened.
"""

import re
from dataclasses import dataclass

from ellq_server.refusals import ReferenceRefused, shorten

LONGEST_URI = 1024

_URI = re.compile(r"([a-z0-9]+)://([^/]*)(/.*)?", re.DOTALL)
_PART = re.compile(r"[A-Za-z0-9._=+@:!$&'();-]+")
_PLACES = {
    # Buckets and containers become a part of a host's name: an address of four numbers must not pass for one.
    "s3": re.compile(r"(?![\d.]+\Z)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"(?![\d.]+\Z)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"),
    "az": re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}"),
    "hf": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"),
    "file": re.compile(""),
}
_PLACES_TOLD = {
    "s3": "a bucket has 3 to 63 lower-case letters, digits, dots and hyphens, no such mark at its ends, and is no address",
    "gs": "a bucket has 3 to 63 lower-case letters, digits and ._- , no such mark at its ends, and is no address",
    "az": "a container has 3 to 63 lower-case letters, digits and single hyphens, and begins and ends with a letter or digit",
    "hf": "an owner has at most 96 letters, digits, and ._- , and begins with a letter or digit",
    "file": "a file has no host: its URI begins with three slashes",
}
_FORMS = {
    "s3": "s3://BUCKET/KEY",
    "gs": "gs://BUCKET/KEY",
    "az": "az://CONTAINER/BLOB",
    "hf": "hf://OWNER/MODEL[@REVISION]/FILE",
    "file": "file:///PATH",
}
SCHEMES = tuple(_FORMS)

ONE_OBJECT = (
    "a URI names one object: of a folder name the shards, each in a call of its own; where all of them decide together "
    "(global scope, a network, moments), compress the folder itself, downloaded, on the caller's side"
)
"""What to do about a folder."""


class NotAReference(ValueError):
    """A text is no URI that anything here opens; says why, without what may be a secret in it."""


@dataclass(frozen=True)
class Reference:
    """What a URI names: an object, or all objects below a prefix."""

    scheme: str
    place: str
    """Bucket, container or owner; empty for files."""
    parts: tuple[str, ...]
    """Of the key or path. For a hub, the first is the model, without its revision."""
    revision: str = ""
    """Of a model on a hub. Empty: the main branch."""

    @property
    def key(self) -> str:
        """The name of the object within its place."""
        return "/".join(self.parts)

    def __str__(self) -> str:
        """Return the URI."""
        parts = self.parts
        if self.revision:
            parts = (f"{parts[0]}@{self.revision}", *parts[1:])
        return f"{self.scheme}://{'/'.join((self.place, *parts))}"

    def is_below(self, prefix: "Reference") -> bool:
        """Return whether a prefix admits this: the same place, and whole parts of the path."""
        same = (self.scheme, self.place) == (prefix.scheme, prefix.place)
        return same and self.parts[: len(prefix.parts)] == prefix.parts


def read_uri(uri: str, *, field: str) -> Reference:
    """Return the object that a URI of a request names. Errors: ReferenceRefused (INVALID_URI)."""
    try:
        reference = _parse(_without_slash(uri))
        least = 2 if reference.scheme == "hf" else 1
        if uri.endswith("/") or len(reference.parts) < least:
            raise NotAReference(f"it names a folder, no single object such as {_FORMS[reference.scheme]}; {ONE_OBJECT}")
    except NotAReference as error:
        raise ReferenceRefused(f"{field} {told(uri)}: {error}", reason="INVALID_URI", field=field) from error
    return reference


def read_prefix(text: str) -> Reference:
    """Return a prefix of the settings. Errors: NotAReference."""
    reference = _parse(_without_slash(text))
    if reference.revision:
        raise NotAReference("a prefix names no revision")
    if reference.scheme == "file" and not reference.parts:
        raise NotAReference("it would open the whole file system; name a folder")
    return reference


def _without_slash(uri: str) -> str:
    """Return the URI without a last slash, which says that it names a folder; those before a place stay."""
    return uri.removesuffix("/") if uri.count("/") > 2 else uri


def _parse(uri: str) -> Reference:
    if len(uri) > LONGEST_URI:
        raise NotAReference(f"it has {len(uri)} characters; at most {LONGEST_URI} are allowed")
    if re.search("[?#%]", uri):
        raise NotAReference("it has one of ?, # and %, which say nothing here: a key is written as it is, without a query")
    matched = _URI.fullmatch(uri)
    if matched is None or matched[1] not in SCHEMES:
        raise NotAReference(f"allowed are {', '.join(_FORMS.values())}")
    scheme, place, path = matched[1], matched[2], matched[3] or ""
    if not _PLACES[scheme].fullmatch(place) or ".." in place:
        said = "what" if _is_secret(uri) else f"{shorten(ascii(place), 80)}, which"
        raise NotAReference(
            f"{said} stands between :// and the next /, is not allowed: {_PLACES_TOLD[scheme]}; the form is {_FORMS[scheme]}"
        )
    parts = tuple(path[1:].split("/")) if path else ()
    for part in parts:
        if not _PART.fullmatch(part) or part in (".", ".."):
            allowed = "letters and digits of ASCII and ._=+@:!$&'();- , but not . or .. alone"
            quoted = "a part" if _is_secret(uri) else f"part {shorten(ascii(part), 60)}"
            raise NotAReference(f"{quoted} of its path is not allowed: each has {allowed}")
    return _of_hub(place, parts) if scheme == "hf" else Reference(scheme, place, parts)


def _of_hub(owner: str, parts: tuple[str, ...]) -> Reference:
    if not parts:
        return Reference("hf", owner, parts)
    model, _, revision = parts[0].partition("@")
    if not _PLACES["hf"].fullmatch(model) or ".." in model or "--" in model or (revision and not _PART.fullmatch(revision)):
        raise NotAReference(f"what follows the owner is no name of a model; the form is {_FORMS['hf']}")
    return Reference("hf", owner, (model, *parts[1:]), revision)


def told(uri: str) -> str:
    """Return what may be said of a URI that was refused: no more than its scheme where a password or a signature can be in it.

    Where a secret ends cannot be known of text that is no URI: those of AWS hold slashes, and what is typed holds anything.
    """
    if not _is_secret(uri):
        return shorten(ascii(uri), 120)
    scheme = uri.partition(":")[0]
    return f"'{scheme}:…'" if scheme in SCHEMES else "'…'"


def _is_secret(uri: str) -> bool:
    """Return whether a user with a password, or a query, can be in a text."""
    return re.search("[@?#%]", uri) is not None or ":" in uri.partition("://")[2].partition("/")[0]
