"""Sources that learned photographs and come with the book: weights in data/sources, and a record.

`lib.studies.shipping` trains, measures and writes them.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from lib.constraint import Constraint
from lib.networks import Network
from lib.runtime import files
from lib.zoo.models import build

FOLDER = files.DATA / "sources"
PHOTOGRAPHS = "photographs"
"""What `source_data` is where they are meant, and what the names of them begin with."""
UNFIT = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def meant(source_data: str | Path) -> bool:
    """Tell whether what sources learn are the photographs that those in the book have learned."""
    return str(source_data).strip().casefold() == PHOTOGRAPHS


def available() -> dict[tuple[Constraint, int], Path]:
    """List what comes with the book: {(constraint, seed): file of the weights}, in order.

    Raises ValueError, which names the file, where a record is damaged or not there.
    """
    found = {}
    for path in FOLDER.glob("*.safetensors"):
        about = record(path)
        found[under(about), about["parameters"]["seed"]] = path
    return dict(sorted(found.items()))


def names() -> list[str]:
    """List what they are called where one starts from them: photographs natural, …"""
    constraints = sorted({constraint for constraint, _ in available()})
    return [f"{PHOTOGRAPHS} {spelt(constraint)}" for constraint in constraints]


def parse(name: str) -> Constraint | None:
    """Return the constraint that a name such as "photographs l2 0.5" means, or None for another.

    Raises ValueError where none of that constraint comes with the book.
    """
    first, _, rest = " ".join(name.split()).partition(" ")
    if not (rest and meant(first)):
        return None
    return find(Constraint.parse(rest))[0]


def find(constraint: Constraint, seed: int | None = None) -> tuple[Constraint, Path]:
    """Return the constraint, to its last digit, and the file of one that comes with the book.

    constraint: as figures show it, so that linf 0.00784 is 2/255. seed: None for any. Raises
    ValueError, which lists what there is, for any other.
    """
    for (own, its_seed), path in (there := available()).items():
        if str(own) == str(constraint) and seed in (None, its_seed):
            return own, path
    raise ValueError(
        f"no source that learned photographs under {spelt(constraint)}"
        f"{'' if seed is None else f' with seed {seed}'} comes with the book; {_listed(there)}"
    )


def load(constraint: Constraint, seed: int) -> tuple[Network, dict[str, Any]]:
    """Return a source that comes with the book, its weights in float32, and its record.

    constraint, seed: as in `find`. Returns (Network in eval mode on the CPU, record). Raises
    ValueError as `find` does, and, naming the file, where it is damaged.
    """
    _, path = find(constraint, seed)
    try:
        about, content = record(path), path.read_bytes()
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise ValueError("its sha256 is not the one that its record has")
        how = about["parameters"]
        model = build(how["arch"], about["classes"], width=how["width"])
        model.load_state_dict(safetensors.torch.load(content))
    except UNFIT as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({text}); take it anew from the repository") from None
    return model.eval(), about


def record(path: Path) -> dict[str, Any]:
    """Read the record beside weights, or raise ValueError, which names it."""
    file = path.with_suffix(".json")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        under(about), about["parameters"]["seed"]  # what everything else asks for
        return about
    except UNFIT as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{file} is damaged ({text}); take it anew from the repository") from None


def under(about: dict[str, Any]) -> Constraint:
    """Return what the network of a record was trained under."""
    return Constraint(about["parameters"]["constraint"], about["parameters"]["amount"])


def rounded(model: nn.Module) -> nn.Module:
    """Round the weights in place to half precision, as the files hold them, and return the model.

    Raises ValueError for a weight that half precision does not hold.
    """
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            weight.copy_(weight.half())  # its storage is the model's
            if not weight.isfinite().all():
                raise ValueError(f"{name} has weights that half precision does not hold")
    return model


def write(model: nn.Module, about: dict[str, Any]) -> Path:
    """Store a network, rounded to half precision, and its record; return the file of the weights.

    about: the record, with classes, and with constraint, amount, seed, arch and width under
    parameters; name and sha256 are added to it.
    """
    name = spelt(under(about)).replace(" ", "_").replace("/", "-")
    name = f"{name}_seed{about['parameters']['seed']}"
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    content = safetensors.torch.save(
        {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    )
    about = {"name": name, **about, "sha256": hashlib.sha256(content).hexdigest()}
    path = FOLDER / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    files.replace(path.with_suffix(".json"), text)
    files.replace(path, content)  # last, since it is this that is looked for
    return path


def spelt(constraint: Constraint) -> str:
    """Write a constraint as one types it, with the digits that figures show: l2 0.5, linf 2/255."""
    shown, kind = str(constraint), constraint.kind
    return shown.replace(kind.symbol, kind.name) if kind and kind.symbol else shown


def _listed(there):
    """Say what comes with the book, and of which seeds."""
    seeds = defaultdict(list)
    for constraint, seed in there:
        seeds[constraint].append(seed)
    alike = defaultdict(list)
    for constraint, its_seeds in seeds.items():
        alike[tuple(its_seeds)].append(spelt(constraint))
    said = [f"{', '.join(c)} (seeds {', '.join(map(str, s))})" for s, c in alike.items()]
    return f"those that do are {'; '.join(said)}" if said else f"{FOLDER} has none"
