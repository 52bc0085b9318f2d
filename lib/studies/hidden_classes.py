"""Do influential images share what the head was never told?

A head learns coarse classes, such as animals against vehicles, and one asks whether the most
influential training image is of the same fine class as the test image, ship or lorry, which no
label has said. With the classes that the head has learned the rate says little: an image's gradient
contains its label, and the match is near 1 for labels drawn at random, too. After the identical
subclass test of Hanawa et al. (2021).
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from lib.images import Images, subset
from lib.influence import head_influence
from lib.studies.matching import OF, same_class, two_rates
from lib.studies.tuned_heads import tuned

DECAY = 5e-4
"""Weight decay of the head, and so the damping at its optimum."""


def grouped(images: Images, groups: Mapping[str, Sequence[str]]) -> Images:
    """Return images labelled by group instead of class.

    groups: {group: classes}. A class is meant by its name, or by what follows the number at its
    beginning: ship also means 008_ship. Raises ValueError for a class in no group, or in several.
    """
    places = []
    for name in images.classes:
        plain = name.lstrip("0123456789").lstrip("_- ") or name
        found = [g for g, members in enumerate(groups.values()) if {name, plain} & set(members)]
        if len(found) != 1:
            raise ValueError(f"the class {name} is in {len(found)} groups; it must be in one")
        places += found
    return Images(images.x, torch.tensor(places)[images.y], tuple(groups))


def hidden_matches(
    source: nn.Module,
    target: tuple[Images, Images],
    *,
    groups: Mapping[str, Sequence[str]],
    n: int,
    seeds: Sequence[int],
    n_test: int = 1000,
    at_random: bool = False,
) -> pd.DataFrame:
    """Measure how often the most influential training images are of the test image's hidden class.

    source, target: as in `lib.transfer.transfer`. groups: as in `grouped`, what the head learns.
    n, seeds: training images of a subset, 5 and more, and a seed of each. n_test: test images, at
    most. at_random: whether the head learns groups drawn at random instead, the control.

    Returns a row for each subset: subset_seed, match, of the most influential image, three_of_five
    and chance, the same for an image drawn from those of the test image's group, and clean_accuracy
    in telling the groups apart; all 0 to 1.
    """
    train, test = target
    asked = subset(test, min(n_test, len(test)), seed=0)
    coarse = grouped(train, groups), grouped(asked, groups)
    flip = (len(groups) - 1) / len(groups) if at_random else 0.0  # leaves labels that say nothing
    rows = []
    for one in tuned(source, coarse, n=n, seeds=seeds, epochs=0, weight_decay=DECAY, flip=flip):
        scores = head_influence(*one.train, *one.test, damping=DECAY)
        own, hidden = asked.y, train.y[one.members]
        rows.append(
            {
                "subset_seed": one.subset_seed,
                **two_rates(same_class(scores, own, hidden, OF)),
                "chance": _chance(own, hidden, coarse[1].y, coarse[0].y[one.members]),
                "clean_accuracy": one.clean_accuracy,
            }
        )
    return pd.DataFrame(rows)


def _chance(own: Tensor, hidden: Tensor, group: Tensor, groups: Tensor) -> float:
    """Return the share of training images of a test image's group that are of its class, mean."""
    same = (own[:, None] == hidden).double().sum(1)
    return float((same / (group[:, None] == groups).double().sum(1)).mean())
