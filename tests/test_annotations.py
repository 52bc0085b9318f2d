"""Every public function of lib is annotated: all that it takes by name, and what it returns."""

import ast
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent.parent / "lib"
FILES = sorted({path.relative_to(LIB).as_posix() for path in LIB.rglob("*.py")})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def unannotated(tree, of=""):
    """Name the public functions, and methods of public classes, that lack an annotation.

    Functions in functions do not count, nor do *args and **kwargs, of which a docstring tells.
    """
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield from unannotated(node, of)
        elif node.name.startswith("_"):
            continue
        elif isinstance(node, ast.ClassDef):
            yield from unannotated(node, f"{of}{node.name}.")
        else:
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            told = {arg.arg for arg in taken if arg.annotation} | {"self", "cls"}
            if node.returns is None or not {arg.arg for arg in taken} <= told:
                yield of + node.name


@pytest.mark.parametrize("name", FILES)
def test_public_functions_are_annotated(name):
    assert [*unannotated(ast.parse((LIB / name).read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("def f(x: int, *rest, **how) -> int: ...", []),
        ("def f(x: int): ...", ["f"]),
        ("def f(x) -> int: ...", ["f"]),
        ("def f(x, /) -> int: ...", ["f"]),
        ("def f(*, x=1) -> int: ...", ["f"]),
        ("async def f(x) -> int: ...", ["f"]),
        ("if True:\n    def f(x): ...", ["f"]),
        ("class A:\n    def f(self, x): ...\n    def g(self) -> int: ...", ["A.f"]),
        ("class A:\n    class B:\n        def f(cls): ...", ["A.B.f"]),
        ("class _A:\n    def f(self, x): ...\ndef _g(x): ...", []),
        ("def f() -> int:\n    def g(x): ...", []),
    ],
)
def test_what_lacks_one_is_named(lines, named):
    assert [*unannotated(ast.parse(lines))] == named
