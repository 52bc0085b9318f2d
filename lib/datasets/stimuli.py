"""Published cue-conflict stimuli, and how a source of other classes answers them."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from lib.cue_conflict import Conflicts
from lib.datasets.reading import read_image


def read_stimuli(folder: str | Path, size: int) -> Conflicts:
    """Read published cue-conflict stimuli: <shape><n>-<texture><m>.png in folders by shape.

    The layout is that of Geirhos et al. (2019), as in bear/bear3-clock1.png. Images whose two
    cues agree are left out. size: pixels of a side, as in `lib.datasets.load`.

    Returns Conflicts; the cues alone are not among the published images. Raises ValueError for a
    folder that holds no stimuli, and for a name that is none or contradicts its folder.
    """
    root = Path(folder).expanduser()
    cues = {file: _cues(file) for file in sorted(root.glob("[!.]*/[!.]*.png"))}
    cues = {file: pair for file, pair in cues.items() if pair[0] != pair[1]}
    if not cues:
        raise ValueError(f"the folder {root} holds no stimuli <shape>/<shape><n>-<texture><m>.png")
    classes = tuple(sorted({name for pair in cues.values() for name in pair}))
    y = torch.tensor([[classes.index(name) for name in pair] for pair in cues.values()])
    x = torch.stack([read_image(file, size) for file in cues])
    return Conflicts(x, y[:, 0].contiguous(), y[:, 1].contiguous(), classes)


def read_mapping(
    file: str | Path | None, source_classes: Sequence[str], classes: Sequence[str]
) -> torch.Tensor:
    """Read which class of the stimuli each class of a source belongs to.

    file: CSV with the columns source_class and stimulus_class, or None where equal names mean
    equal classes. source_classes, classes: names of the source's and of the stimuli's classes.

    Returns int64 (len(source_classes),): an index into `classes`, or −1 for a class that belongs
    to none. Raises ValueError for a file without these columns, a name that is unknown, and a
    class of the stimuli that no class of the source belongs to.
    """
    pairs = {name: name for name in classes if name in source_classes}
    if file is not None:
        with Path(file).expanduser().open(encoding="utf-8", newline="") as text:
            pairs = _pairs(file, csv.DictReader(text))
    for names, known in ((pairs, source_classes), (pairs.values(), classes)):
        if unknown := [name for name in names if name not in known]:
            some = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            raise ValueError(f"{file}: unknown class {unknown[0]!r}; known: {some}")
    if missing := [name for name in classes if name not in pairs.values()]:
        raise ValueError(f"no class of the source belongs to {missing[0]!r}; name it in a mapping")
    return torch.tensor([classes.index(pairs[s]) if s in pairs else -1 for s in source_classes])


def _pairs(file, reader):
    """Return {class of the source: class of the stimuli} of a CSV file."""
    try:
        if not {"source_class", "stimulus_class"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{file} needs the columns source_class and stimulus_class")
        return {row["source_class"]: row["stimulus_class"] for row in reader}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no CSV file ({error}); save it as UTF-8") from None


def _cues(file):
    """Take the two cues from a stimulus's name."""
    match = re.fullmatch(r"(\D+)\d+-(\D+)\d+", file.stem)
    if match is None or match[1] != file.parent.name:
        raise ValueError(
            f"{file} is no stimulus; expected <shape>/<shape><n>-<texture><m>, "
            "as in bear/bear3-clock1.png"
        )
    return match[1], match[2]
