"""A fine-tuning with what it is worth: how it does on images that it has not seen."""

from typing import NamedTuple

from torch import nn

from lib.advisor import scores
from lib.advisor.fine_tuning import fine_tune, parts, stated
from lib.advisor.scores import Scores
from lib.datasets.labelled import joined
from lib.images import Images
from lib.runtime.parallel import bar


class Checked(NamedTuple):
    """A fine-tuned network in eval mode, the images it was trained on, and its worth.

    scores: on unseen images, or None where none were held out. seen_since: whether the network was
    trained on them afterwards.
    """

    network: nn.Module
    images: Images
    scores: Scores | None
    seen_since: bool


def fine_tuned(
    source: nn.Module,
    images: Images,
    test: Images | None,
    *,
    folds: int,
    all_images: bool = False,
    **settings,
) -> Checked:
    """Fine-tune a source, and tell how it does on the test images, or on images held out in turn.

    source, settings: as in `lib.advisor.fine_tuning.fine_tune`. images: to train on. test: others,
    or None; then the images are held out in `folds` parts, each from a fine-tuning of its own.
    all_images: whether to fine-tune once more, to the test images too. Stderr says how far it is.

    Raises ValueError as `fine_tune` does.
    """
    held = 0 if test else len(parts(images, folds, settings["seed"]))
    again = bool(test and all_images)
    runs = 1 + held + again
    with bar(runs * settings["epochs"], "fine-tuning, epochs") as shown:
        settings["watch"] = lambda *_: shown.update()
        network, probs = fine_tune(source, images, folds=held, **settings)
        found = None
        if held:
            known = ~probs[:, 0].isnan()
            found = scores.of(probs[known], images.y[known])
        if test:
            found = scores.of(stated(network, test), test.y)
        if test and again:
            images = joined(images, test)
            network, _ = fine_tune(source, images, **settings)
    return Checked(network, images, found, again or held > 0)


def worth(found: Scores | None, held_out: str) -> list[str]:
    """Say what Scores tell, in lines. held_out: which images they are of."""
    if found is None:
        return ["how good it is was not measured: no image was held out"]
    right, low, high, balanced, largest, sure = (f"{100 * value:.1f}" for value in found[1:])
    apart = 100 * (found.stated - found.accuracy)
    return [
        f"of {found.images} {held_out}: {right} % right (95 % interval {low} to {high}), "
        f"{balanced} % as the mean over the classes; always the largest class: {largest} %",
        f"it states {sure} % on average, {abs(apart):.1f} points {'more' if apart > 0 else 'less'} "
        "than it gets right",
    ]
