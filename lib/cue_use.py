"""Which cue a network uses: its answers to conflicts, its accuracy with a cue taken away."""

import torch

from lib import microcosm
from lib.attacks import evaluating
from lib.conflicts import drawn, phase_against_amplitude
from lib.shape_bias import by_class, decided, shape_bias
from lib.stimuli import decide, read_mapping, read_stimuli
from lib.training import BATCH, accuracy, pixels


@torch.no_grad()
def answers(model, x, *, mapping=None, batch_size=BATCH):
    """Return the classes a model answers, int64 (N,) on the CPU.

    x: uint8 (N, 3, H, W). mapping: from the model's classes to others, as of
    `lib.stimuli.read_mapping`, or None where they are the same.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        logits = torch.cat([model(pixels(b.to(device))).cpu() for b in x.split(batch_size)])
    return logits.argmax(1) if mapping is None else decide(logits.softmax(1), mapping)


def bias(model, conflicts, *, mapping=None):
    """Measure the shape bias of a model (Geirhos et al., 2019) on all conflicts that count.

    A conflict counts where each of its two cues is recognised alone: a cue that the model does
    not know cannot lose against the other. Where the cues alone are not known, all count.

    conflicts: Conflicts. mapping: as in `answers`.

    Returns a dict: conflicts and counted, their numbers; shape_bias (0 to 1, NaN where nothing is
    decided for a cue) and decided (share decided for either cue) among the counted;
    shape_bias_of_all and decided_of_all among all; shape_known and texture_known, the accuracy
    on each cue alone (NaN where not known); by_class, the shape_bias_of_all by class of the shape.
    """
    cues = {"shape": conflicts.shape, "texture": conflicts.texture}
    found = answers(model, conflicts.x, mapping=mapping)
    counts, known = torch.ones(len(conflicts), dtype=torch.bool), {}
    for name, cue in cues.items():
        alone = getattr(conflicts, f"{name}_alone")
        known[f"{name}_known"] = float("nan")
        if alone is not None:
            right = answers(model, alone, mapping=mapping) == cue
            known[f"{name}_known"] = float(right.double().mean())
            counts &= right
    every = (found, *cues.values())
    counted = tuple(values[counts] for values in every)
    return {
        "conflicts": len(conflicts),
        "counted": int(counts.sum()),
        "shape_bias": shape_bias(*counted),
        "decided": decided(*counted),
        "shape_bias_of_all": shape_bias(*every),
        "decided_of_all": decided(*every),
        **known,
        "by_class": by_class(*every, conflicts.classes),
    }


def accuracies(model, versions):
    """Measure the accuracy on several versions of images, each with another cue taken away.

    versions: {key: Images}, as made by `lib.cues`.

    Returns one dict each: version (its key), accuracy (0 to 1).
    """
    return [{"version": key, "accuracy": accuracy(model, v)} for key, v in versions.items()]


def pulled_apart(kind, images, n, *, seed=0, mapping=None):
    """Return conflicts of the kind asked for, and how a model of the images' classes answers them.

    kind: "drawn" (the microcosm's, for models of its classes), "phase" (phase of one of the
    images against amplitude of another) or a folder of published stimuli. images: Images of the
    classes the model knows, of the size it is shown. n: number of conflicts to draw or make.
    mapping: CSV for a folder of stimuli, as of `lib.stimuli.read_mapping`, or None.

    Returns (Conflicts, mapping or None). Raises ValueError for drawn conflicts of other classes
    than the microcosm's, and as the functions do that make or read them.
    """
    if kind == "drawn":
        if images.classes != microcosm.CLASSES:
            raise ValueError(
                "conflicts can only be drawn of the microcosm's classes, not of "
                f"{', '.join(images.classes[:5])}; use phase, or a folder of stimuli"
            )
        return drawn(n, seed, size=images.x.shape[-1]), None
    if kind == "phase":
        return phase_against_amplitude(images, n, seed), None
    found = read_stimuli(kind, images.x.shape[-1])
    return found, read_mapping(mapping, images.classes, found.classes)
