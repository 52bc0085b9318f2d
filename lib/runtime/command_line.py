"""A command whose errors are one line."""

from collections.abc import Sequence

import click


def run(command: click.Command, program: str, arguments: Sequence[str] | None) -> int:
    """Run a command of click and return its exit code; an error is a line on stderr, and code 1.

    program: how it is called, for its help. arguments: None for those of the process.
    """
    try:
        return command.main(arguments, program, standalone_mode=False) or 0
    except click.ClickException as error:
        message = error.format_message()
    except (ValueError, OSError) as error:
        message = str(error)
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return 1
