"""Imports run one way, and importing does nothing else."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "lib"
LAYERS = [
    {"images", "files", "curves", "fingerprint", "parameters", "parallel", "quoting", "stats"},
    {"provenance"},
    {"kept"},
    {"microcosm", "bundled", "folders", "pictures", "downloads", "layouts"},
    {"decoded"},
    {"torchvision_sets"},
    {"data"},
    {"networks", "chains", "pickles"},
    {"imagenet", "parts", "archives"},
    {"grouped", "checkpoints"},
    {"models"},
    {
        "attacks",
        "augment",
        "cues",
        "conflicts",
        "shape_bias",
        "influence",
        "matching",
        "plots",
        "widgets",
    },
    {"stimuli", "cue_plots", "influence_plots", "feature_plots", "tuning_plots", "advice_plots"},
    {"training", "freezing", "heads", "retraining", "ekfac", "features"},
    {"tails"},
    {"sources", "published", "transfer", "robustness", "cue_use", "likeness"},
    {"attribution", "advice", "labelled", "starts", "exported"},
    {"doubts", "tuned"},
]
RUNNER = {"toc", "notebooks", "execution", "rerun", "book"}
RUNNER_USES = RUNNER | {"files", "fingerprint", "parameters", "provenance"}
MODULES = sorted(path.stem for path in LIB.glob("*.py") if path.stem != "__init__")


def imports(name):
    """List the modules of lib that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((LIB / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("lib.")}
            assert not any(a.name == "lib" for a in node.names), f"{name}: import lib"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            if node.module == "lib":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("lib."):
                found.add(node.module.split(".")[1])
    return found


def test_every_module_has_its_place():
    placed = set.union(RUNNER, *LAYERS)
    assert placed == set(MODULES)
    assert len(placed) == len(RUNNER) + sum(map(len, LAYERS))


def test_contributing_says_the_same():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Layers")[1].split("\n## ")[0]
    rows = [set(re.findall(r"`(\w+)`", line)) for line in section.splitlines() if "| `" in line]
    assert rows == LAYERS
    (sentence,) = re.findall(r"((?:`\w+`,? (?:and )?)+)execute the chapters", section)
    assert set(re.findall(r"`(\w+)`", sentence)) == RUNNER


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    if name in RUNNER:
        assert imports(name) <= RUNNER_USES - {name}
        return
    (level,) = [i for i, layer in enumerate(LAYERS) if name in layer]
    below = set().union(*LAYERS[:level])
    assert imports(name) <= below


def test_no_module_imports_itself_through_others():
    seen = {}

    def visit(name, path):
        assert name not in path, " → ".join([*path, name])
        if name not in seen:
            seen[name] = [visit(other, [*path, name]) for other in sorted(imports(name))]

    for name in MODULES:
        visit(name, [])


PROBE = """
import json, os, sys
modules = sys.argv[1:]
files, net = [], []

def watch(event, args):
    # What the libraries do elsewhere, in /tmp say, is theirs.
    if event in ("open", "os.mkdir", "os.listdir", "os.remove") and isinstance(args[0], str):
        path = os.path.relpath(args[0])
        reads = event == "os.listdir" or event == "open" and not args[2] & 3  # O_WRONLY, O_RDWR
        if path.startswith("data") or not (reads or path.startswith("..")):
            files.append((event, path))
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        net.append(event)

sys.addaudithook(watch)
for module in modules:
    __import__(f"lib.{module}")
heavy = ("foolbox", "kronfluence", "matplotlib.pyplot", "sklearn", "skimage", "timm")
slow = [m for m in heavy if m in sys.modules]
torch = sys.modules.get("torch")
started = bool(torch and torch.cuda.is_initialized())
print(json.dumps({"files": files, "net": net, "slow": slow, "cuda": started}))
"""


def probe(modules):
    """Import modules in a fresh interpreter, and tell what else that did."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, *modules],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    return json.loads(done.stdout)


def test_importing_touches_no_disk_network_or_gpu():
    drawing = {"widgets", "quoting"} | {m for m in MODULES if m.endswith("plots")}
    computing = set.union(*LAYERS) - drawing
    found = probe(sorted(computing))
    assert found == {"files": [], "net": [], "slow": [], "cuda": False}


def test_importing_the_runner_needs_no_science():
    code = (
        "import sys\nfor m in sys.argv[1:]: __import__(f'lib.{m}')\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(RUNNER)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
