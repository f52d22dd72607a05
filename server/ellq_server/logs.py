"""One event a line, each with the id of the request it belongs to."""

import logging
import re
import uuid
from collections.abc import Iterable

import structlog

from ellq_server.log_writer import LogWriter

LONGEST_ID = 128

_STANDARD_ERROR = 2

_shared = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Bound to the standard library's logger and to no global configuration: inside a client's process the service is silent
# unless that process configures logging.
_target = logging.getLogger("ellq")
_target.addHandler(logging.NullHandler())
log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    _target,
    processors=[structlog.stdlib.filter_by_level, *_shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    wrapper_class=structlog.stdlib.BoundLogger,
)


def configure_logs(*, level: str, form: str) -> None:
    """Send every event, the libraries' too, to standard error as JSON or as text for people."""
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    processors += [structlog.processors.format_exc_info, renderer] if form == "json" else [renderer]
    handler = LogWriter(_STANDARD_ERROR)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=_shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def request_id_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the caller's x-request-id where it is fit for a log line, else a new one."""
    for key, value in metadata or ():
        if key == "x-request-id" and isinstance(value, str) and re.fullmatch(rf"[\w.:/-]{{1,{LONGEST_ID}}}", value):
            return value
    return uuid.uuid4().hex
