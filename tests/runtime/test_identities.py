"""What determines a result tells it from others, and is the same for the same."""

import functools
import os
from dataclasses import dataclass

import pytest
import torch

from lib import microcosm
from lib.attacks import L2
from lib.constraint import Constraint
from lib.runtime.identities import identity
from lib.zoo import models


@dataclass(frozen=True)
class Settings:
    epochs: int
    prepare: object = None


def test_what_determines_a_result_tells_it_from_others():
    told = identity
    net, images = models.build("small_resnet", 10, seed=0), microcosm.draw(4, 0)
    same = models.build("small_resnet", 10, seed=0)
    assert told(net) == told(same) and told(images) == told(microcosm.draw(4, 0))
    assert told(models.build("small_resnet", 10, seed=1)) != told(net)
    same.normalise.set(0.4, 0.25)  # not in the state dict, yet it decides what comes out
    assert told(same) != told(net)
    assert told(images) != told(microcosm.draw(4, 1))
    assert told({"n": 20, "seeds": range(2)}) == told({"n": 20, "seeds": range(0, 2)})
    assert told({"n": 20}) != told({"n": 40}) and told([1, 2]) != told([2, 1])
    attack = functools.partial(L2, 0.5)
    assert told(attack) != told(functools.partial(L2, 0.25)) and told(L2(0.5)) != told(L2(0.25))
    assert told(torch.ones(2)) != told(torch.ones(2, dtype=torch.float64))
    assert told(torch.ones(2, dtype=torch.bfloat16)) == told(torch.ones(2, dtype=torch.bfloat16))
    assert told(Settings(3, net)) == told(Settings(3, models.build("small_resnet", 10, seed=0)))
    assert told(Settings(3, net)) != told(Settings(3, same)) != told(Settings(4, same))
    assert told(Constraint("l2", 0.5)) != told(Constraint("linf", 0.5))
    assert told(torch.relu) != told(torch.sigmoid)


def test_what_cannot_be_told_is_refused():
    for value in (object(), lambda: 0, {"x": os}, [{1, 2}], L2(0.5).project):
        with pytest.raises(TypeError, match="cannot be told"):
            identity(value)
