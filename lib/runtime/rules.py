"""What a value may be: rules, and the check of a notebook's parameters against them.

A rule is any callable `rule(name, value)` that raises ValueError with one line.
"""

import contextlib
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

Rule = Callable[[str, object], object]
VALUES = (bool, int, float, str, list, tuple, dict, type(None))
IPYTHON = {"In", "Out", "get_ipython", "exit", "quit", "open"}
CHECKED = "_parameters_checked"


class ParameterError(ValueError):
    """A parameter that a chapter does not take, or a value that it does not allow."""

    def _render_traceback_(self):
        """Show one line in a notebook (IPython calls this)."""
        return [f"ParameterError: {self}"]


def annotated(namespace: dict) -> dict[str, type]:
    """Return the annotations in a kernel's globals(): those of its parameters cell."""
    lazily = namespace.get("__annotate__")  # since Python 3.14
    return dict(lazily(1) if lazily else namespace.get("__annotations__", {}))


def check(namespace: dict, rules: Mapping[str, Rule]) -> dict:
    """Hold the parameters among `namespace`, a kernel's globals(), against one rule for each name.

    In a fresh kernel any plain value that has no rule is a mistake: papermill makes a variable of
    every name it is given. When the cell is run again by hand, the notebook's own variables are
    there too, and only the rules are checked. Of text that looks like a number papermill makes one;
    a whole number is made text again, also in `namespace`, where the annotation is str. It is
    refused where a file or folder that is here can have been meant as well, as 007 by 7.

    Returns the parameters as given: {name: value}. Raises ParameterError, in one line, for a name
    without a rule, and a value that its rule refuses.
    """
    kinds = annotated(namespace)
    if CHECKED not in namespace:
        for name, value in namespace.items():
            plain = isinstance(value, VALUES) and not name.startswith("_")
            if plain and name not in IPYTHON and name not in rules:
                raise ParameterError(unknown(name, rules))
    for name, rule in rules.items():
        value = namespace[name]
        as_text = f"text goes by papermill's -r {name} TEXT, and in YAML in quotes"
        if kinds.get(name) is str and type(value) is int:
            namespace[name] = str(value)
            if other := _read_as(value):
                refuse(name, value, f"text, as {other} may have been meant ({as_text})")
        elif kinds.get(name) is str and not isinstance(value, str):
            refuse(name, value, f"text ({as_text})")
        try:
            rule(name, namespace[name])
        except ParameterError:
            raise
        except (ValueError, OSError, ImportError) as error:
            hint = "" if value is namespace[name] else f"; a number was given, {as_text}"
            raise ParameterError(f"{name}: {error}{hint}") from error
    namespace[CHECKED] = True
    return {name: namespace[name] for name in rules}


@contextlib.contextmanager
def checking() -> Iterator[None]:
    """Turn what reading the data finds wrong with a parameter (ValueError) into one line."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ParameterError(error) from None


def _read_as(number):
    """Name a file or a folder here that reads as a whole number, but is written otherwise."""
    for entry in sorted(Path.cwd().iterdir()):
        with contextlib.suppress(ValueError):
            if int(entry.name) == number and entry.name != str(number):
                return entry.name
    return ""


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the line that refuses a name: the nearest match, and the names there are."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"{name} is not a parameter of this chapter{hint} Parameters: {', '.join(known)}"


def integer(low: float = -math.inf, high: float = math.inf) -> Rule:
    """Allow a whole number from `low` to `high`."""
    return one(lambda value: type(value) is int, "a whole number", low, high)


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
    """Allow a finite number from `low` to `high`, whole or not."""
    return one(lambda value: type(value) in (int, float), "a number", low, high)


def one_of(*values: object) -> Rule:
    """Allow exactly these values."""

    def rule(name, value):
        if not any(type(value) is type(v) and value == v for v in values):
            refuse(name, value, f"one of {', '.join(map(str, values))}")

    return rule


def listed(text: str) -> list[str]:
    """List the names in a text that separates them by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def flag(name: str, value: object) -> None:
    """Allow True and False; the text "False" is refused."""
    if type(value) is not bool:
        refuse(name, value, "True or False")


def text(name: str, value: object) -> None:
    """Allow text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        refuse(name, value, "text, not empty")


def integers(low: float = -math.inf, high: float = math.inf) -> Rule:
    """Allow a list, neither empty nor with duplicates, of whole numbers from `low` to `high`."""
    return each(integer(low, high), "whole numbers", "[0, 1]")


def numbers(low: float = -math.inf, high: float = math.inf, *, empty: bool = False) -> Rule:
    """Allow a list without duplicates of numbers from `low` to `high`; an empty one if `empty`."""
    return each(number(low, high), "numbers", "[0.25, 0.5]", empty=empty)


def each(rule: Rule, kind: str = "values", example: str = "[a, b]", *, empty: bool = False) -> Rule:
    """Allow a list without duplicates of values that each obey `rule`; an empty one if `empty`."""

    def rule_for_list(name, value):
        if not isinstance(value, list | tuple):
            refuse(name, value, f'a list of {kind}, as in -y "{name}: {example}"')
        for i, item in enumerate(value):
            rule(f"{name}[{i}]", item)
        shown = [f"{item:g}" if isinstance(item, float) else str(item) for item in value]
        if len(set(shown)) < len(value) or not (value or empty):
            refuse(name, value, f"a list of {kind}, neither empty nor with two that look alike")

    return rule_for_list


def one(right_type: Callable[[object], bool], kind: str, low: float, high: float) -> Rule:
    """Return the rule for one number between bounds."""
    bounds = f" from {low} to {high}" if math.isfinite(low) or math.isfinite(high) else ""

    def rule(name, value):
        # nan fails the comparison; inf passes it where there is no bound.
        if not (right_type(value) and low <= value <= high and abs(value) != math.inf):
            exponent = isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value)
            refuse(name, value, kind + bounds + " (1e-3 is 1.0e-3 in YAML)" * bool(exponent))

    return rule


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise the ParameterError that says what was given and what is allowed."""
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    given = f"{shown} ({type(value).__name__})"
    raise ParameterError(f"{name} must be {allowed}; given {given}")
