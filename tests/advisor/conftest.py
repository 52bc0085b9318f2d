"""A folder of one's own, a source that takes no training, and a network tuned from both."""

import pytest
import torch
from own_images import draw

from lib.advisor import __main__ as program
from lib.zoo import models


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "my images", {"dark": 12, "light": 12})


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A file of random weights."""
    path = tmp_path_factory.mktemp("weights") / "start.pt"
    torch.save(models.build("small_resnet", 4, seed=1, width=16).state_dict(), path)
    return f"small_resnet:{path}"


@pytest.fixture(scope="session")
def saved(mine, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "mine.pt2"
    arguments = ["fit", str(mine), "--source", checkpoint, "--unfrozen-blocks", "1"]
    arguments += ["--folds", "0", "--epochs", "40", "--device", "cpu"]
    assert program.main([*arguments, "--out", str(out)]) == 0
    return out
