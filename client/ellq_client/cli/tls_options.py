"""The options of TLS, and what becomes of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ellq_client.tls import Tls

Switch = Annotated[
    bool, typer.Option("--tls", help="Reach the server by TLS; so does any --tls-*. Default: ELLQ_TLS, else plaintext.")
]
Ca = Annotated[
    str | None,
    typer.Option(
        "--tls-ca", metavar="FILE", help="Who may have signed its certificate. Default: ELLQ_TLS_CA, else as gRPC says."
    ),
]
Certificate = Annotated[
    str | None,
    typer.Option("--tls-certificate", metavar="FILE", help="Certificate to show to it. Default: ELLQ_TLS_CERTIFICATE."),
]
Key = Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="Private key of that. Default: ELLQ_TLS_KEY.")]
ServerName = Annotated[
    str | None,
    typer.Option(
        "--tls-server-name", metavar="NAME", help="Name in its certificate. Default: ELLQ_TLS_SERVER_NAME, else its address."
    ),
]


def tls_options(
    *, tls: Switch = False, tls_ca: Ca = None, tls_certificate: Certificate = None, tls_key: Key = None,
    tls_server_name: ServerName = None,
) -> dict[str, Any]:  # fmt: skip
    """Return everything that decides how a server is reached by TLS, by name."""
    return locals()


def tls_of(words: Mapping[str, Any]) -> "Tls | None":
    """Return TLS as the options say; None: they say nothing, and the client asks the environment. Errors: ValueError."""
    from ellq_client.tls import chosen_tls

    files = {f"{name}_file": words[f"tls_{name}"] for name in ("ca", "certificate", "key")}
    given = {**files, "server_name": words["tls_server_name"]}
    return chosen_tls(switch=words["tls"], **given) if words["tls"] or any(given.values()) else None
