"""`ellq serve`: settings, signals, and an exit code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from ellq_server.allocator import share_arenas
from ellq_server.listening import CannotListen
from ellq_server.logs import configure_logs
from ellq_server.server import UNUSABLE_SETTINGS, Server
from ellq_server.settings import Settings, UnknownSetting, refuse_unknown_names
from ellq_server.warm_up import fill_cold_cache

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_CANNOT_LISTEN = 5
EXIT_DEVICE_LOST = 6


def serve(arguments: Sequence[str]) -> int:
    """Run a server until SIGTERM or SIGINT, or until its device computes no more, and return the exit code.

    0 drained, 2 wrong settings, 5 cannot listen, 6 the device was lost: whoever starts servers starts another.
    """
    share_arenas()
    try:
        refuse_unknown_names()
        settings = CliApp.run(Settings, cli_args=list(arguments))
    except (UnknownSetting, SettingsError, ValidationError) as error:
        print(f"ellq serve: {_explained(error)}", file=sys.stderr)
        return EXIT_USAGE
    configure_logs(level=settings.log_level, form=settings.log_format)
    try:
        server = Server(settings)
        if settings.kernels == "cpu":
            fill_cold_cache()
        return asyncio.run(_run(server))
    except UNUSABLE_SETTINGS as error:
        print(f"ellq serve: {error}", file=sys.stderr)
        return EXIT_USAGE
    except CannotListen as error:
        print(f"ellq serve: {error}", file=sys.stderr)
        return EXIT_CANNOT_LISTEN


async def _run(server: Server) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.leave.set)
    await server.start()
    await server.leave.wait()
    await server.drain()
    code = EXIT_DEVICE_LOST if server.device_lost else EXIT_OK
    if server.busy or server.device_lost:
        # A thread in the middle of a kernel cannot be stopped, and the interpreter would wait for it at its end; what is left
        # on a lost device cannot be freed. Nothing is kept here, so nothing is lost.
        logging.shutdown()
        os._exit(code)
    return code


def _explained(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r}" for one in error.errors()]
    return "; ".join(lines)
