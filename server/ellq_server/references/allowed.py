"""What a server opens: the prefixes of its settings. Nothing is opened that none of them names."""

from dataclasses import dataclass

from ellq_server.references.uri import NotAReference, Reference, read_prefix, read_uri, told
from ellq_server.refusals import ReferenceRefused

READABLE = ("s3", "gs", "az", "file", "hf")
WRITABLE = ("s3", "gs", "az", "file")


class UnusablePrefix(ValueError):
    """A setting names a prefix that is none."""


@dataclass(frozen=True)
class Allowed:
    """The prefixes of one setting. None: nothing is opened."""

    setting: str
    """Its name in the environment."""
    prefixes: tuple[Reference, ...]

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that have a prefix, each once."""
        return tuple(sorted({prefix.scheme for prefix in self.prefixes}))

    def admit(self, uri: str, *, field: str) -> "Admitted":
        """Return what a URI of a request names. Errors: ReferenceRefused (REFERENCES_OFF, INVALID_URI, URI_NOT_ALLOWED)."""
        if not self.prefixes:
            message = f"{field}: this server opens nothing by reference here, until {self.setting} is set where it runs"
            raise ReferenceRefused(message, reason="REFERENCES_OFF", field=field)
        reference = read_uri(uri, field=field)
        admitting = [prefix for prefix in self.prefixes if reference.is_below(prefix)]
        if not admitting:
            message = f"{field} {reference} is below no prefix that {self.setting} allows, which is set where the server runs"
            raise ReferenceRefused(message, reason="URI_NOT_ALLOWED", field=field)
        return Admitted(reference, max(admitting, key=lambda prefix: len(prefix.parts)), field)


@dataclass(frozen=True)
class Admitted:
    """An object that may be opened, by which prefix, and where the request names it."""

    reference: Reference
    prefix: Reference
    field: str

    def __str__(self) -> str:
        """Return the field and the URI, as every refusal begins."""
        return f"{self.field} {self.reference}"


def allowed_by(setting: str, prefixes: str, schemes: tuple[str, ...]) -> Allowed:
    """Return the prefixes of a setting: URIs with commas between them. Errors: UnusablePrefix."""
    found: list[Reference] = []
    for text in filter(None, map(str.strip, prefixes.split(","))):
        try:
            found.append(read_prefix(text))
        except NotAReference as error:
            raise UnusablePrefix(f"{setting}: {told(text)} is no prefix: {error}") from error
        if found[-1].scheme not in schemes:
            raise UnusablePrefix(f"{setting}: {told(text)} has a scheme that is not among {', '.join(schemes)}")
    return Allowed(setting, tuple(found))
