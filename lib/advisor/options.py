"""The options of a command: held to what they allow, and named in errors as they are typed."""

import contextlib
from collections.abc import Iterable, Iterator

import click
from click.core import ParameterSource

from lib.advisor import starts
from lib.runtime.command_line import ERRORS
from lib.studies.parameters import TABLE, a_source


def check(context: click.Context) -> None:
    """Hold options to the rules of the chapters' parameters that have their names.

    context: of a command with the options source and source_data. Raises click.BadParameter, which
    names the option, and ValueError for one that is given and has no part in such a source.
    """
    rules = {name: parameter.rule for name, parameter in TABLE.items()}
    rules["source"] = lambda _, value: a_source(value)
    for option in context.command.params:
        value = context.params[option.name]
        if isinstance(option, click.Option) and option.name in rules and value is not None:
            try:
                rules[option.name](option.name, value)
            except ERRORS as error:
                raise click.BadParameter(str(error), context, option) from None
    source = context.params["source"]
    idle = starts.idle(source, context.params["source_data"])
    refuse(context, idle, f"where the source is {source!r}")


def refuse(context: click.Context, names: Iterable[str], why: str) -> None:
    """Raise ValueError where one of these options is given, since it would have no effect."""
    for name in sorted(names):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ValueError(f"--{name.replace('_', '-')} has no effect {why}; leave it out")


@contextlib.contextmanager
def as_typed() -> Iterator[None]:
    """Let an error that begins with the name of an argument begin with the option it came by."""
    try:
        yield
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        typed = {it.name: it.opts[0] for it in click.get_current_context().command.params}
        if name not in typed:
            raise
        raise ValueError(f"{typed[name]} {rest}") from None
