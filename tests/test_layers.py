"""Imports obey five rules, and importing does nothing else."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "lib"
RULES = (
    "A file of `lib/` imports only files of `lib/`, never a folder.",
    "`runtime` imports `images` alone.",
    "`datasets` and `zoo` import the science and `runtime`, never each other.",
    "`studies`, then `advisor`, import all of the above.",
    "`figures` imports the science at most; `book` imports `runtime` only; nobody but chapters "
    "imports these two.",
)
SCIENCE = {path.stem for path in LIB.glob("*.py")} - {"__init__"}
FOLDERS = {path.parent.name for path in LIB.glob("*/__init__.py")}
# The same rules: what the files of a folder ("": of lib itself) may import besides one another.
ALLOWED = {
    "": set(),
    "runtime": {"images"},
    "datasets": {*SCIENCE, "runtime"},
    "zoo": {*SCIENCE, "runtime"},
    "studies": {*SCIENCE, "runtime", "datasets", "zoo"},
    "advisor": {*SCIENCE, "runtime", "datasets", "zoo", "studies"},
    "figures": SCIENCE,
    "book": {"runtime"},
}
FILES = {
    ".".join(path.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(LIB.rglob("*.py"))
    if path != LIB / "__init__.py"
}


def folder_of(name):
    """Return the folder that a module lies in, or is; "" for a file of the science."""
    first = name.split(".")[0]
    return first if first in FOLDERS else ""


def imports(name):
    """Return the modules of lib that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name == "lib" for alias in node.names), f"{name}: import lib"
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {full for full in inside if full.removeprefix("lib.") in FILES}
            found |= modules if modules == inside else {*modules, node.module}
    return {module.removeprefix("lib.") for module in found if module.startswith("lib.")}


def test_the_folders_are_those_of_the_rules():
    assert set(ALLOWED) == {"", *FOLDERS}
    assert {name for name in FILES if not folder_of(name)} == SCIENCE


@pytest.mark.parametrize("name", FILES)
def test_imports_obey_the_rules(name):
    folder = folder_of(name)
    inside = SCIENCE if not folder else {folder}
    reached = {folder_of(other) or other for other in imports(name)}
    assert reached <= inside | ALLOWED[folder]


def test_contributing_tells_the_rules():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Layers")[1].split("\n## ")[0]
    items = re.split(r"^\d\. ", section.split("\n\n1. ")[1].split("\n\n")[0], flags=re.M)
    assert tuple(" ".join(item.split()) for item in items) == RULES
    assert {name for name in FOLDERS if f"lib/{name}/" in section} == FOLDERS


def test_no_module_imports_itself_through_others():
    seen = {}

    def visit(name, path):
        assert name not in path, " → ".join([*path, name])
        if name not in seen:
            seen[name] = [visit(other, [*path, name]) for other in sorted(imports(name))]

    for name in FILES:
        visit(name, [])


def test_no_module_has_the_name_of_a_parameter():
    """In a chapter the parameter would hide the module."""
    from lib.studies.parameters import TABLE

    assert {part for name in FILES for part in name.split(".")} & set(TABLE) == set()


PROBE = """
import json, os, sys
modules = sys.argv[1:]
files, net = [], []

def watch(event, args):
    # What the libraries do elsewhere, in /tmp say, is theirs.
    path = args[0] if args and isinstance(args[0], str) else ""
    if path and event in ("open", "os.mkdir", "os.listdir", "os.remove"):
        path = os.path.relpath(path)
        reads = event == "os.listdir" or event == "open" and not args[2] & 3  # O_WRONLY, O_RDWR
        if path.startswith("data") or not (reads or path.startswith("..")):
            files.append((event, path))
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        net.append(event)

sys.addaudithook(watch)
for module in modules:
    __import__(f"lib.{module}")
torch = sys.modules.get("torch")
started = bool(torch and torch.cuda.is_initialized())
print(json.dumps({"files": files, "net": net, "cuda": started, "modules": [*sys.modules]}))
"""


def probe(folders):
    """Import all modules of some folders in a fresh interpreter, and tell what else that did."""
    names = [name for name in FILES if folder_of(name) in folders]
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    return json.loads(done.stdout)


def test_importing_touches_no_disk_network_or_gpu():
    found = probe(set(ALLOWED) - {"figures"})
    assert (found["files"], found["net"], found["cuda"]) == ([], [], False)
    slow = {"foolbox", "kronfluence", "matplotlib.pyplot", "sklearn", "skimage", "timm"}
    assert slow & set(found["modules"]) == set()


def test_importing_the_runner_needs_no_science():
    assert {"torch", "pandas", "matplotlib"} & set(probe({"book"})["modules"]) == set()
