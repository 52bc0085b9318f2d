"""Going on with one's own images: fine-tune a source as a whole network, and use it."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from lib.advisor import starts
from lib.datasets.folders import image_files
from lib.datasets.reading import read_image
from lib.freezing import join
from lib.images import Images
from lib.training import pixels
from lib.tuning import Recipe, freeze_below, tune

BATCH = 100
"""Images in memory at a time when a folder is predicted."""


def fine_tune(
    source: nn.Module, images: Images, *, unfrozen_blocks: int = 0, seed: int = 0, **recipe
) -> tuple[nn.Module, float]:
    """Fine-tune a source to labelled images, all of them, and return the network as one.

    source, unfrozen_blocks: as in `lib.transfer.transfer`. seed: of the new head and the batches.
    recipe: as in `lib.tuning.Recipe`.

    Returns (network in eval mode, training accuracy of the last epoch, 0 to 1). Raises ValueError
    as `transfer` does.
    """
    how = Recipe(**recipe)
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    y = images.y[None].to(below.device)
    ((tail, fitted),) = tune(above, iter([below]), y, len(images.classes), how, seeds=[seed])
    return join(source, unfrozen_blocks, tail), fitted


@torch.no_grad()
def predict(network: nn.Module, about: Mapping, folder: str | Path) -> list[tuple[str, str, float]]:
    """Classify all images in a folder and the folders in it.

    network, about: as `lib.advisor.exported.load` returns them.

    Returns rows (file within the folder, class, probability). Raises ValueError where there is no
    folder, no image in it, or one that cannot be read.
    """
    root = Path(folder).expanduser()
    paths = image_files(root)
    if not paths:
        raise ValueError(f"there is no folder of images {str(folder)!r} (looked in {Path.cwd()})")
    rows = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        x = torch.stack([read_image(file, about["size"]) for file in part])
        sure, answers = network(pixels(x)).softmax(1).max(1)
        for file, answer, p in zip(part, answers.tolist(), sure.tolist(), strict=True):
            rows.append((Path(file).relative_to(root).as_posix(), about["classes"][answer], p))
    return rows


def command(target: str, source: str, out: str, **options) -> str:
    """Write the command line that fine-tunes and saves.

    target, source, out: its arguments. options: those of `python -m lib.advisor fit`, by name;
    defaults are left out.
    """
    defaults = asdict(Recipe())
    for function in (fine_tune, starts.load):
        defaults |= function.__kwdefaults__ or {}
    words = ["python", "-m", "lib.advisor", "fit", str(target), "--source", source]
    for name, value in options.items():
        if value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", f"{value}"]
    return shlex.join([*words, "--out", str(out)])
