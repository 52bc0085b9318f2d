"""A command whose errors are one line."""

import contextlib
import signal
from collections.abc import Iterator, Sequence

import click

ERRORS = (ValueError, OSError, ImportError, SyntaxError)
"""What a user can mend; anything else is a fault of the program, and is shown whole."""


def run(
    command: click.Command,
    program: str,
    arguments: Sequence[str] | None,
    *,
    interrupted: str = "interrupted",
) -> int:
    """Run a command of click and return its exit code; an error is said on stderr, and code 1.

    program: how it is called, for its help. arguments: None for those of the process. interrupted:
    what is said where Ctrl-C or a plain kill ended it; the code is then 130.
    """
    try:
        # Not standalone: click would add its usage to an error, and exit with 2.
        return command.main(arguments, program, standalone_mode=False) or 0
    except click.UsageError as error:
        message = " ".join(error.format_message().split())
    except click.ClickException as error:
        message = error.format_message()  # which may say in further lines where to look
    except (click.Abort, KeyboardInterrupt):
        click.echo(interrupted, err=True)
        return 130
    except ERRORS as error:
        message = " ".join(str(error).split())
    click.echo(f"error: {message}", err=True)
    return 1


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no further Ctrl-C or kill break off what is done to end in order."""
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def end_by_kill() -> None:
    """Let a plain kill end this process as Ctrl-C does, and with it what it has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
