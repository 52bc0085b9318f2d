"""What a study measures, and of which sources: data/studies/NAME.yaml, or a file of one's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from lib import augmentation
from lib.constraint import MIXED_TEXTURES, UNTRAINED, Constraint, constraints
from lib.runtime import rules, yamls
from lib.runtime.files import DATA
from lib.studies.parameters import MANY, TABLE
from lib.zoo import shipped

FOLDER = DATA / "studies"
MICROCOSM = "microcosm"
"""As source_data: the drawn world, of which there is one more source, of mixed textures."""
BUNDLED = "all"
"""As targets: those that come with the book."""
NEEDS = {
    "heads": ["sizes"],
    "heads_wider": ["sizes"],
    "resolutions": ["sizes"],
    "curves": ["curve_sizes"],
    "curves_wider": ["curve_sizes"],
    "depths": ["depths", "depth_sizes"],
    "doses": ["amplitudes", "dose_sizes"],
}
"""What a protocol has to say, for a table."""
LEARNED = ("n_source", "source_epochs", "attack_steps", "l2", "linf", "seeds")
SOURCES = ("source_data", *LEARNED, "more_sources", "recipe")
"""What says which sources are trained, and how: parameters of chapters, and a recipe."""
RECIPE = {
    "arch": rules.text,
    "width": rules.integer(1, 10_000),
    "lr": rules.number(1e-6, 100),
    "batch_size": rules.integer(2, MANY),
    "label_smoothing": rules.number(0, 0.999),
    "augment": rules.one_of(*augmentation.POLICIES),
    "flips": rules.flag,
    "bfloat16": rules.flag,
}
"""What a recipe may say, as `lib.studies.pretrained.Training`."""


@dataclass(frozen=True)
class Protocol:
    """How a study is measured.

    name: that of its file, with which the names of its tables begin: small letters, digits and
    hyphens. sources: parameters of `lib.studies.Ladder.of`; where they name no source_data, the
    sources learn what the study is given. targets: the folders it needs, or BUNDLED. measure: its
    tables, as of `lib.studies.measurements.MEASUREMENTS`. sizes: training images of heads; 0 is all
    a target has. curve_sizes: of the models whose learning curves are drawn. depths, depth_sizes:
    how many blocks are trained besides the head, -1 for all, and with how many images.
    depth_sources: of which sources, those of the learning curves, too, as texts that
    `lib.constraint.Constraint.parse` reads; none for natural ones, the robust ones that stand for
    all, and random weights. amplitudes, dose_sizes: of the texture that sources learn, as in
    `lib.microcosm.draw`, and the training images of heads on them.
    """

    name: str
    sources: Mapping[str, Any]
    targets: str | Sequence[str]
    measure: Sequence[str]
    sizes: Sequence[int] = ()
    curve_sizes: Sequence[int] = ()
    depths: Sequence[int] = ()
    depth_sizes: Sequence[int] = ()
    depth_sources: Sequence[str] = ()
    amplitudes: Sequence[float] = ()
    dose_sizes: Sequence[int] = ()

    @property
    def comes_with_the_book(self) -> bool:
        """Whether its sources were trained already, and lie in data/sources."""
        return shipped.meant(self.sources.get("source_data", ""))

    @property
    def drawn(self) -> bool:
        """Whether its sources learn the drawn world, whose cues can be told apart."""
        return self.sources.get("source_data") == MICROCOSM

    @property
    def kinds(self) -> list[Constraint]:
        """What its sources are trained under, random weights with them, before any is trained."""
        if self.comes_with_the_book:
            return sorted({constraint for constraint, _ in shipped.available()})
        given = self.sources
        trained = constraints(
            given["l2"], given["linf"], rules.listed(given.get("more_sources", ""))
        )
        return sorted([*trained, UNTRAINED, *([MIXED_TEXTURES] if self.drawn else [])])

    def learned(self, folder: str) -> str:
        """Return the images that its sources learn, as source_data, or "" where they are not here.

        folder: of these images, or "". Raises ValueError for a folder where the protocol has images
        of its own.
        """
        own = "" if self.comes_with_the_book else self.sources.get("source_data", "")
        if own and folder:
            raise ValueError(f"the sources of {self.name} learn {own}; leave --learned out")
        return own or folder


def read(name: str) -> Protocol:
    """Read a protocol: one of `data/studies` by its name, or a YAML file by its path.

    Raises ValueError, in one line, for a file that is not there or no YAML, and for a key or a
    value that a protocol does not have.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.yaml")))
        raise ValueError(f"there is no protocol {name!r}; allowed are {known}, and a YAML file")
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), yamls.Loader)
    except yamls.ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no YAML of a protocol: {reason}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{path} has no keys; needed are sources, targets and measure")
    if not re.fullmatch("[a-z0-9-]+", path.stem):
        raise ValueError(f"the file is {path.name}; allowed are small letters, digits and hyphens")
    if path.resolve().parent != FOLDER.resolve() and (FOLDER / f"{path.stem}.yaml").exists():
        raise ValueError(f"{path} is called as a protocol of the book; give it another name")
    _check(given)
    return Protocol(path.stem, **given)


def _check(given):
    """Raise ValueError unless the keys of a protocol and their values are allowed."""
    own = [one for one in fields(Protocol) if one.name != "name"]
    _no_others("a protocol", given, [one.name for one in own])
    if missing := [one.name for one in own if one.default is MISSING and one.name not in given]:
        raise ValueError(f"the protocol lacks {', '.join(missing)}")
    for name, rule in RULES.items():
        if name in given:
            rule(name, given[name])
    for table in given["measure"]:
        if missing := [name for name in NEEDS.get(table, ()) if not given.get(name)]:
            raise ValueError(f"the protocol measures {table} and lacks {', '.join(missing)}")


def _sources(name, value):
    """Allow parameters of chapters that say what sources are trained, and a recipe."""
    if not isinstance(value, dict):
        rules.refuse(name, value, "parameters by name, as in l2: [0.25]")
    trained = not shipped.meant(value.get("source_data", ""))  # the others have learned already
    _no_others(name, value, SOURCES if trained else ["source_data"])
    if missing := [one for one in LEARNED if trained and one not in value]:
        raise ValueError(f"the sources lack {', '.join(missing)}")
    for parameter, given in value.items():
        if parameter != "recipe":
            TABLE[parameter].rule(parameter, given)
    if trained:
        rules.integer(2, 1000)("seeds", value["seeds"])  # of one there is no interval
    recipe = value.get("recipe", {})
    if not isinstance(recipe, dict):
        rules.refuse("recipe", recipe, "settings by name, as in arch: resnet18")
    _no_others("recipe", recipe, list(RECIPE))
    for setting, given in recipe.items():
        RECIPE[setting](setting, given)


def _no_others(what, given, known):
    """Raise ValueError where a mapping has other keys."""
    if others := [key for key in given if key not in known]:
        raise ValueError(f"{what} has no {others[0]!r}; allowed are {', '.join(known)}")


def _targets(name, value):
    """Allow the targets of the book, or names of folders."""
    if value != BUNDLED:
        rules.each(rules.text, "names of folders", "[cifar10, mnist]")(name, value)


def _constraint(name, value):
    """Allow what a source can be trained under, and random weights."""
    rules.text(name, value)
    Constraint.parse(value)


RULES = {
    "sources": _sources,
    "targets": _targets,
    "measure": rules.each(rules.text, "tables", "[heads, depths]"),
    "sizes": rules.integers(0, MANY),
    "curve_sizes": rules.integers(0, MANY),
    "depths": rules.integers(-1, 1000),
    "depth_sizes": rules.integers(0, MANY),
    "depth_sources": rules.each(_constraint, "sources", "[natural, l2 0.25]"),
    "amplitudes": rules.numbers(0, 1),
    "dose_sizes": rules.integers(0, MANY),
}
"""What the values may be."""
