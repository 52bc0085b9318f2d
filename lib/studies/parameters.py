"""The parameters of the chapters: what each means and allows, once for all of them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lib import augmentation, datasets
from lib.constraint import ALLOWED, NATURAL, UNTRAINED, Constraint, constraints
from lib.networks import SMALL, small_network
from lib.runtime import files, rules, scheduler
from lib.runtime.rows import check as check_rows
from lib.runtime.rules import (
    ParameterError,
    flag,
    integer,
    integers,
    listed,
    number,
    numbers,
    one_of,
    text,
)
from lib.zoo import published, shipped

checking = rules.checking
MANY = 10**7
"""More images than any set has."""
LEARNING = {"n_source": 2500, "source_epochs": 6, "attack_steps": 1}
"""How sources learn, by default; those that come with the book have learned already."""


class Parameter(NamedTuple):
    """What a parameter allows, as a rule of `lib.runtime.rules`, and what it means, in a line."""

    rule: Callable
    meaning: str


def check(namespace: dict, /) -> dict:
    """Hold a chapter's parameters, the annotated names of a kernel's globals(), against the table.

    papermill makes a variable of every name it is given, misspelt or not: so in a fresh kernel any
    plain value that is no parameter of the chapter is a mistake.

    Returns the parameters as given: {name: value}. Raises ParameterError, in one line, for a name
    that is no parameter of the chapter, a value that its rule refuses, what sources that come with
    the book cannot be told, sources that figures would call the same, and more unfrozen blocks than
    the sources have.
    """
    names = rules.annotated(namespace)
    missing = [name for name in names if name not in TABLE]
    if missing:
        raise ParameterError(f"{missing[0]} is not among the parameters of lib.studies.parameters")
    given = rules.check(namespace, {name: TABLE[name].rule for name in names})
    with checking():
        if not given.get("checkpoints"):
            check_learning(given)
        more = listed(given.get("more_sources", ""))
        constraints(given.get("l2", []), given.get("linf", []), more)
    if given.get("checkpoints") == "":
        blocks = len(small_network(next(iter(SMALL)), 2).blocks)
        for name in {"unfrozen_blocks", "depths"} & set(given):
            rule = integer(-1, blocks) if name == "unfrozen_blocks" else integers(-1, blocks)
            rule(name, given[name])
    return given


def check_learning(given: Mapping) -> None:
    """Raise ValueError where sources that have learned already are told how to learn.

    They would not heed it, and rows and captions would give as theirs what they never had.
    """
    for name, usual in LEARNING.items() if shipped.meant(given.get("source_data", "")) else ():
        if given.get(name, usual) != usual:
            raise ValueError(
                f"{name} is {given[name]}, but the sources that learned photographs come as they "
                "are, see data/README.md; leave it out, or name a folder as source_data"
            )


def a_source(name: str) -> None:
    """Raise ValueError unless a name is that of a source.

    It is of the ladder, of those that come with the book, published or a file's.
    """
    if ":" in name:
        published.check_file(name)
    elif name not in published.published() and shipped.parse(name) is None:
        try:
            Constraint.parse(name)
        except ValueError as error:
            if Path(name).expanduser().is_file():
                raise ValueError(
                    f"{name} is a file; write its architecture before it, as in resnet50:{name}"
                ) from None
            raise ValueError(
                f"there is no source {name!r} ({error}); others are {UNTRAINED}, "
                f"{', '.join(shipped.names()) or 'none that come with the book'}, ARCH:PATH, and "
                "published ones such as resnet50_l2_eps3"
            ) from None


def _sources(name, value):
    """Allow a list of sources, with commas between them, or nothing."""
    for source in published.listed(_text(value)):
        a_source(source)


def _more_sources(name, value):
    """Allow what sources can be trained under, with commas between, or nothing."""
    for one in listed(_text(value)):
        constraint = Constraint.parse(one)
        if constraint != NATURAL and constraint.kind is None:
            raise ValueError(f"{one!r} is not trained; allowed are {ALLOWED}")


def _other_rates(name, value):
    """Allow factors of the learning rate, but not 1: that rate is measured anyway."""
    numbers(0.001, 1000, empty=True)(name, value)
    if any(f"{factor:g}" == "1" for factor in value):
        raise ValueError("1 is lr itself, which is always tried; leave it out")


def _checkpoints(name, value):
    """Allow networks from files, each with its constraint, with commas between them, or nothing."""
    for one in published.listed(_text(value)):
        published.check(one)


def _data(name, value):
    """Allow a known set of images, a folder, or what the sources in the book have learned."""
    if not shipped.meant(_text(value)):
        datasets.find(value)


def _targets(name, value):
    """Allow known sets and folders, with commas between them."""
    for target in datasets.targets(_text(value)):
        datasets.find(target)


def _rows_file(name, value):
    """Allow a file that can take rows, or nothing."""
    if _text(value):
        check_rows(value)


def _cluster(name, value):
    """Allow the address of a Dask scheduler that answers and has workers, or nothing."""
    if not _text(value):
        return
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d{1,5}", value):
        raise ValueError(
            f"{value!r} is no address of a Dask scheduler; as in tcp://127.0.0.1:8786, or nothing"
        )
    scheduler.check(value)


def _new_csv(name, value):
    """Allow a CSV file that is not there yet, in a folder that can be written, or nothing."""
    if not _text(value):
        return
    path = Path(value).expanduser()
    if path.suffix != ".csv" or not path.parent.is_dir():
        raise ValueError(f"{value!r} is no CSV file of a folder that is there; as in labels.csv")
    if path.exists():
        raise ValueError(f"there is a file {value!r} already; move it away, or name another")
    files.check(path)


def _file_or_nothing(name, value):
    """Allow a file that is there, or nothing."""
    if _text(value) and not Path(value).expanduser().is_file():
        raise ValueError(f"there is no file {value!r} (looked in {Path.cwd()})")


def _folder_or_nothing(name, value):
    """Allow a folder that is there, or nothing."""
    if _text(value) and not Path(value).expanduser().is_dir():
        raise ValueError(f"there is no folder {value!r} (looked in {Path.cwd()})")


def _text(value):
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; write names, with commas between them")
    return value


TABLE = {
    name: Parameter(rule, meaning)
    for name, rule, meaning in (
        # What is fine-tuned, to what, and how.
        ("target", _targets, "digits, faces, textures, all, a folder; with commas"),
        ("unfrozen_blocks", integer(-1, 1000), "trained besides the head: last blocks; -1 is all"),
        ("n_min", integer(0, MANY), "smallest number of training images; 0 is two a class"),
        ("n_max", integer(0, MANY), "largest number of training images; 0 is all there are"),
        ("n_all", flag, "whether all there are is a size besides n_max"),
        ("n_few", integers(2, MANY), "training images of the targets"),
        ("n_train", integer(5, 10**5), "training images of a subset; all where there are fewer"),
        ("n_test", integer(5, 10**5), "test images looked at; all where there are fewer"),
        ("subsets", integer(1, 1000), "subsets of the target for each source seed and size"),
        ("draws", integer(1, 1000), "subsets of the target for each source seed"),
        ("epochs", integer(1, 10_000), "passes of the fine-tuning over its images"),
        ("lr", number(1e-6, 100), "first learning rate of the fine-tuning"),
        ("lr_factors", _other_rates, "other rates that are tried, of lr"),
        (
            "augment",
            one_of(*augmentation.POLICIES),
            "how training shows colour images: none, crops or paper",
        ),
        ("views", integer(0, 10_000), "views of an image that are kept; 0 draws new ones"),
        ("image_size", integer(8, 4096), "pixels of a side of all images"),
        ("scratch_images", integer(0, 10**9), "images a training from scratch sees; 0 is none"),
        # Learning curves, depth, and what is kept of the robustness.
        ("curve_n", integer(1, MANY), "training images of the learning curves"),
        ("record_at", integers(1, 10_000), "epochs recorded, and the last"),
        ("depths", integers(-1, 1000), "blocks unfrozen besides the head; -1 is all"),
        ("depth_n", integers(1, MANY), "training images of the models of any depth"),
        ("depth_epochs", integer(1, 10_000), "passes of these over their images"),
        ("depth_seeds", integer(1, 1000), "training seeds of their sources"),
        ("kept_l2", numbers(0.001, 100), "ℓ2 radii of attacks on them, pixels in [0, 1]"),
        ("n_kept", integer(1, MANY), "test images attacked"),
        ("kept_steps", integer(1, 10_000), "PGD steps of these attacks"),
        # Attacks that measure.
        ("n_attacked", integer(10, 10**6), "test images that are attacked"),
        ("steps", integer(1, 10_000), "PGD steps of an attack that measures"),
        # Cues.
        ("conflicts", text, "drawn, phase, or a folder of published stimuli"),
        ("mapping", _file_or_nothing, "CSV from the sources' classes to the stimuli's, or none"),
        ("n_conflicts", integer(10, 10**6), "images whose two cues disagree"),
        ("n_tested", integer(10, 10**6), "test images that lose a cue"),
        # Influence.
        ("damping", number(1e-9, 0.999), "added to the Hessian; the weight decay by default"),
        ("cutoff", number(1e-9, 0.999), "share of the largest singular value; the paper's"),
        ("flip", number(0.001, 0.99), "share of labels made wrong, to be found again"),
        ("flip_seeds", integer(1, 1000), "how often other labels are flipped"),
        # Synthesis.
        ("n_matched", integer(2, 10_000), "test images whose features are matched"),
        ("n_units", integer(1, 10_000), "single features that are maximised"),
        ("n_pairs", integer(1, 10_000), "of these, images that others are turned into"),
        ("n_maps", integer(2, 10**5), "images whose input gradients are measured"),
        ("path_steps", integer(1, 10_000), "gradient steps of a synthesis"),
        ("path_size", number(1e-6, 1000), "ℓ2 length of its first step, pixels in [0, 1]"),
        ("path_radius", number(0, 1000), "ℓ2 ball around its start; 0 is none"),
        ("judges", integer(1, 100), "networks that judge, for each cue"),
        # Advice.
        ("n_labelled", integer(0, MANY), "labelled images that are used, at most; 0 is all"),
        ("sources", _sources, "networks to start from, with commas between: name, ARCH:PATH"),
        ("with_ladder", flag, "whether the ladder's sources are asked as well"),
        ("rounds", integer(1, 1000), "divisions of the images into four parts"),
        ("unfrozen_images", integer(1, 10**9), "images a training of blocks sees, or 20 passes"),
        ("labels_file", _new_csv, "CSV of all labels, doubtful first; none if empty"),
        # The claims.
        ("results", _folder_or_nothing, "folder of measured tables; those of the book if empty"),
        # The sources, and where all is computed and kept.
        ("checkpoints", _checkpoints, "networks from files as sources, with commas"),
        ("rows_file", _rows_file, "JSON Lines that keep the measured rows; none if empty"),
        ("source_data", _data, "what the sources learn: a set or a folder"),
        ("n_source", integer(0, MANY), "training images of a source; 0 is all there are"),
        ("l2", numbers(0.001, 100), "ℓ2 radii of robust sources, pixels in [0, 1]"),
        ("linf", numbers(0.0001, 1, empty=True), "ℓ∞ radii of robust sources; 0.0157 is 4/255"),
        ("more_sources", _more_sources, "further kinds with commas: noise 0.1, low-pass 0.15"),
        ("seeds", integer(1, 1000), "training seeds of each source"),
        ("source_seed", integer(0, 10**6), "training seed of the sources"),
        ("source_epochs", integer(1, 10_000), "passes of a source's training over its images"),
        ("attack_steps", integer(1, 1000), "PGD steps an image and epoch of robust training"),
        ("device", one_of("auto", "cpu", "cuda"), "auto, cpu or cuda"),
        ("cluster", _cluster, "address of a Dask scheduler; this machine if empty"),
    )
}
"""Every parameter by its name. A chapter that has it writes its meaning beside it."""
