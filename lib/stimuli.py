"""Published cue-conflict stimuli, and how a source of other classes answers them."""

import csv
import re
from pathlib import Path

import torch

from lib.conflicts import Conflicts
from lib.pictures import read_image


def read_stimuli(folder, size):
    """Read published cue-conflict stimuli: <shape><n>-<texture><m>.png in folders by shape.

    The layout is that of Geirhos et al. (2019), as in bear/bear3-clock1.png. Images whose two
    cues agree are left out. folder: path. size: pixels of a side, as in `lib.data.load`.

    Returns Conflicts; the cues alone are not among the published images. Raises ValueError for a
    folder that holds no stimuli, and for a name that is none or contradicts its folder.
    """
    root = Path(folder).expanduser()
    found = [_cues(file) for file in sorted(root.glob("[!.]*/[!.]*.png"))]
    found = [(file, shape, texture) for file, shape, texture in found if shape != texture]
    if not found:
        raise ValueError(f"the folder {root} holds no stimuli <shape>/<shape><n>-<texture><m>.png")
    files, shapes, textures = zip(*found, strict=True)
    classes = tuple(sorted({*shapes, *textures}))
    shape, texture = (
        torch.tensor([classes.index(name) for name in names]) for names in (shapes, textures)
    )
    return Conflicts(torch.stack([read_image(f, size) for f in files]), shape, texture, classes)


def read_mapping(file, source_classes, classes):
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
            reader = csv.DictReader(text)
            if not {"source_class", "stimulus_class"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{file} needs the columns source_class and stimulus_class")
            pairs = {row["source_class"]: row["stimulus_class"] for row in reader}
    for column, allowed in ((pairs.keys(), source_classes), (pairs.values(), classes)):
        for name in column:
            if name not in allowed:
                raise ValueError(f"{file}: unknown class {name!r}; known: {_some(allowed)}")
    for name in classes:
        if name not in pairs.values():
            raise ValueError(f"no class of the source belongs to {name!r}; name it in a mapping")
    return torch.tensor([classes.index(pairs[s]) if s in pairs else -1 for s in source_classes])


def decide(probabilities, mapping):
    """Return the answer among the stimuli's classes: the one of highest mean probability.

    Averaging, not summing, so that a class many of the source's belong to has no advantage, as
    Geirhos et al. (2019) do. probabilities: (N, C) of the source. mapping: as of `read_mapping`.

    Returns int64 (N,).
    """
    belongs = torch.nn.functional.one_hot(mapping[mapping >= 0]).to(probabilities.dtype)
    return (probabilities[:, mapping >= 0] @ (belongs / belongs.sum(0))).argmax(1)


def _cues(file):
    """Take the two cues from a stimulus's name: (file, shape, texture)."""
    match = re.fullmatch(r"(\D+)\d+-(\D+)\d+", file.stem)
    if match is None or match[1] != file.parent.name:
        raise ValueError(
            f"{file} is no stimulus; expected <shape>/<shape><n>-<texture><m>, "
            "as in bear/bear3-clock1.png"
        )
    return file, match[1], match[2]


def _some(names):
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
