"""YAML that a person writes: numbers, texts and lists, by name, a few levels deep."""

import re
from typing import Any, ClassVar

import yaml

ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What reading raises: where it is told the type of a value, PyYAML may stumble over it."""
DEEPEST = 4
"""Levels at most: as of what a recipe, which is one of the sources, says in a protocol."""
FLOAT, TEXT = "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
TO_BASE_60 = re.compile(r"[-+]?[\d_]+(:\d+)+(\.[\d_]*)?$")  # 1:30 would be 90
LEFT_OUT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is everywhere else, and 1:30 and 2024-01-02 are texts.

    Raises ValueError, as it reads, for an alias, and for what is nested more than DEEPEST deep:
    what is then built has an end, and one that is not far.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(TEXT, TO_BASE_60), *(one for one in known if one[0] not in LEFT_OUT)]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one value, a list or a mapping with all that is in it; PyYAML calls this."""
        if self.check_event(yaml.AliasEvent):
            name = self.peek_event().anchor
            raise ValueError(f"*{name} is an alias; write out what it stands for")
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


Loader.add_implicit_resolver(FLOAT, EXPONENT, list("-+.0123456789"))
