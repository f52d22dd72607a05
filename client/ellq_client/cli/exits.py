"""Exit codes, and the one place where an error becomes one."""

import gc
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from typer.core import TyperGroup

from ellq_client import errors
from ellq_client.cli.standard_output import StandardOutput
from ellq_client.cli.wording import harmless, in_options

DEFECT = 1
USAGE = 2
NO_SERVER = 3
DEADLINE = 4
LOCAL_FILE = 5
INTERRUPTED = 130
BROKEN_PIPE = 141

EXPLAINED = """Exit codes:

\b
0    done; for verify: everything that was checked holds
1    verify found a false claim, or a defect of the server
2    the command line, the place of the output or the request must change
3    the server is busy, unavailable or does not let you in
4    the deadline is over (--timeout)
5    a local file cannot be read or written
130  interrupted
141  the reader of the output went away"""

CODES: dict[type[errors.EllqError], int] = {
    errors.InvalidRequest: USAGE,
    errors.ServerUnusable: USAGE,
    errors.ExtraMissing: USAGE,
    errors.Busy: NO_SERVER,
    errors.Unavailable: NO_SERVER,
    errors.AccessDenied: NO_SERVER,
    errors.TlsFailure: NO_SERVER,
    errors.Unsupported: NO_SERVER,
    errors.DeadlineExceeded: DEADLINE,
    errors.SourceError: LOCAL_FILE,
    errors.InvalidOutput: USAGE,
    errors.OutputError: LOCAL_FILE,
    errors.ReportError: LOCAL_FILE,
    errors.Cancelled: DEFECT,
    errors.ServerDefect: DEFECT,
    errors.ProtocolError: DEFECT,
    errors.ClaimRefuted: DEFECT,
}


def exit_code(error: errors.EllqError) -> int:
    """Return the exit code of an error: that of the nearest class in CODES, but a local file's for one that TLS cannot read."""
    if isinstance(error, errors.TlsFailure) and isinstance(error.__cause__, OSError):
        return LOCAL_FILE
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


class Commands(TyperGroup):
    """The group of commands: whatever one of them raises becomes a message and an exit code here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        output = StandardOutput(sys.stdout)
        try:
            with redirect_stdout(cast("TextIO", output)):
                result = super().invoke(ctx)
                output.flush()
            return result
        except errors.EllqError as error:
            lines = [f"ellq: {error}", *getattr(error, "__notes__", ())]
            print(*(harmless(in_options(line)) for line in lines), sep="\n      ", file=sys.stderr)
            code = exit_code(error)
        except KeyboardInterrupt as stop:
            told = getattr(stop, "__notes__", ["nothing was written"])
            print("ellq: interrupted", *map(harmless, told), sep="; ", file=sys.stderr)
            code = INTERRUPTED
        except BrokenPipeError:
            _forget_output()
            code = BROKEN_PIPE
        except OSError as error:  # of standard output or of the system: those of files are ours, and name them
            if error.filename is not None:
                raise
            if error is output.failure:
                print(f"ellq: cannot write to standard output: {error.strerror}", file=sys.stderr)
                _forget_output()
            else:
                print(f"ellq: {error.strerror or error}", file=sys.stderr)
            code = LOCAL_FILE
        finally:
            gc.collect()  # an error, also one of an attempt before, holds its call: see refusals.py
        sys.exit(code)


@contextmanager
def ending_as_by_ctrl_c() -> Generator[None]:
    """Leave as little behind when told to end, or hung up on, as after Ctrl-C. What is to be ignored (nohup) stays ignored."""
    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _forget_output() -> None:
    """Let what could not be written go, or the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
