"""What an operator can set, by environment (ELLQ_NAME) or flag (--name). Unknown names are refused."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ellq_server.addresses import host_and_port

PREFIX = "ELLQ_"

CLIENT_NAMES = frozenset(
    {"ELLQ_SERVER", "ELLQ_TIMEOUT", "ELLQ_TLS", "ELLQ_TLS_CA", "ELLQ_TLS_CERTIFICATE", "ELLQ_TLS_KEY", "ELLQ_TLS_SERVER_NAME"}
)
"""Names with our prefix that belong to the client and may stand in the same environment."""

NonNegativeFloat = Annotated[float, Field(ge=0)]


class UnknownSetting(ValueError):
    """The environment sets a name with our prefix that is no setting."""


class Settings(BaseSettings):
    """Settings of one server. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="ellq serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_avoid_json=True,
    )

    listen: str = Field("0.0.0.0:50051", description="Address of the gRPC port: HOST:PORT or unix:/PATH.")
    health_listen: str = Field(
        "", description="Second address, always plaintext, that answers health checks alone; empty: only the gRPC port does."
    )
    tls_certificate_file: str = Field(
        "", description="Certificate chain (PEM) of the gRPC port, read again when it is replaced; empty: plaintext."
    )
    tls_key_file: str = Field("", description="Private key (PEM) of that certificate; goes with it.")
    tls_client_ca_file: str = Field(
        "", description="Authorities (PEM), one of which must have signed a client's certificate; empty: clients need none."
    )
    metrics_port: int = Field(
        9464, ge=0, le=65535, description="Port of the Prometheus page /metrics over plain HTTP; 0 turns it off."
    )
    kernels: Literal["cpu", "triton", "reference", "reference-cuda"] = Field(
        "cpu", description="Implementation of the kernels: numba on the CPU, Triton on a GPU, or the slow torch reference."
    )
    threads: int = Field(0, ge=0, description="Threads that compute; 0 takes one for each core this process may use.")
    concurrent_calls: PositiveInt = Field(4, description="Calls that run at the same time; more are refused as busy.")
    memory_bytes: PositiveInt = Field(
        8 << 30, description="Budget for weights in flight over all calls; a call that does not fit now is refused as busy."
    )
    header_bytes: PositiveInt = Field(16 << 20, description="Longest safetensors header.")
    tensors: PositiveInt = Field(131072, description="Most tensors in one stream.")
    tensor_bytes: PositiveInt = Field(
        2 << 30, description="Largest tensor; never more than a call of its own fits into memory_bytes."
    )
    payload_bytes: PositiveInt = Field(1 << 44, description="Longest payload of one stream.")
    moments_bytes: PositiveInt = Field(256 << 20, description="Most bytes of second moments that a call may send.")
    network_work: PositiveInt = Field(
        10**14,
        description="Most multiply-adds that the certificates of a network, or LASSO of one tensor, may take; "
        "one core makes some 10^10 a second.",
    )
    source_prefixes: str = Field(
        "", description="URIs below which calls may name a source, with commas between them (s3://BUCKET/PATH); empty: none."
    )
    output_prefixes: str = Field(
        "", description="The same of outputs, which are written, or replaced where a call asks for it; empty: none."
    )
    store_seconds: PositiveFloat = Field(
        30.0, description="A request to a store or a step on a volume that takes longer ends its call, to be tried again."
    )
    hub_hosts: str = Field(
        "huggingface.co,hf.co", description="Hosts, and those below them, to which a hub of hf:// may send the server on."
    )
    reflection: bool = Field(False, description="Offer gRPC server reflection.")
    idle_seconds: PositiveFloat = Field(
        120.0, description="A call ends when its client neither sends nor takes anything for so long."
    )
    connection_age_seconds: PositiveFloat = Field(
        300.0,
        description="Age at which a connection is asked to reconnect, so that new replicas get traffic; running calls finish.",
    )
    drain_delay_seconds: NonNegativeFloat = Field(
        1.0, description="After SIGTERM: time between NOT_SERVING and the refusal of new calls."
    )
    drain_seconds: NonNegativeFloat = Field(30.0, description="After SIGTERM: time that running calls have to finish.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")

    @field_validator("listen", "health_listen")
    @classmethod
    def _is_address(cls, address: str, info: ValidationInfo) -> str:
        if address or info.field_name == "listen":  # empty, the other one is off
            host_and_port(address)
        return address


def refuse_unknown_names(environment: Mapping[str, str] = os.environ) -> None:
    """Raise UnknownSetting when the environment has a name with our prefix that nothing reads.

    A misspelt limit that is silently ignored is found at 3 a.m.; this finds it at start.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | CLIENT_NAMES
    unknown = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        hint = ""
        if any(name.endswith(("_SERVICE_HOST", "_PORT", "_TCP")) for name in unknown):
            hint = " Kubernetes injects such names for a Service called ellq: set enableServiceLinks: false in the pod."
        raise UnknownSetting(f"no such setting: {', '.join(unknown)}; known: {', '.join(sorted(known))}.{hint}")
