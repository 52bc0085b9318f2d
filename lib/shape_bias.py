"""Shape bias: what decides when the shape of one class meets the texture of another.

As Geirhos et al. (2019) define it: of the decisions for either of the two cues, the share of
those for the shape. A decision for a third class is for neither; `decided` says how many are for
one of the two, without which a bias means little.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from lib.cue_conflict import Conflicts
from lib.robustness import logits


def shape_bias(predictions: ArrayLike, shape: ArrayLike, texture: ArrayLike) -> float:
    """Return the share of shape decisions among decisions for either cue (Geirhos et al., 2019).

    predictions, shape, texture: int (N,), class indices: what was answered, and the classes of
    the image's two cues. Images whose two cues agree are no conflict and are left out.

    Returns 0 (all texture) to 1 (all shape), NaN where no decision is for either cue. Raises
    ValueError where the three differ in shape or hold other than whole numbers.
    """
    for_shape, for_texture = decisions(predictions, shape, texture)
    either = (for_shape | for_texture).sum()
    return float(for_shape.sum() / either) if either else float("nan")


def decided(predictions: ArrayLike, shape: ArrayLike, texture: ArrayLike) -> float:
    """Return the share, 0 to 1, of conflicts decided for either of their two cues.

    Arguments and errors: as in `shape_bias`. NaN where no image is a conflict.
    """
    for_shape, for_texture = decisions(predictions, shape, texture)
    return float((for_shape | for_texture).mean()) if len(for_shape) else float("nan")


def decisions(
    predictions: ArrayLike, shape: ArrayLike, texture: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Tell of each conflict whether it was decided for its shape, and for its texture.

    Arguments and errors: as in `shape_bias`. Returns two bool (M,), M the number of conflicts.
    """
    predictions, shape, texture = (np.asarray(v) for v in (predictions, shape, texture))
    if not predictions.shape == shape.shape == texture.shape or predictions.ndim != 1:
        raise ValueError(
            f"predictions {predictions.shape}, shape {shape.shape} and texture {texture.shape} "
            "must be of one length: one class index of each for every image"
        )
    for name, values in (("predictions", predictions), ("shape", shape), ("texture", texture)):
        if values.size and values.dtype.kind not in "iu":
            raise ValueError(f"{name} holds {values.dtype}; allowed are class indices, int")
    conflict = shape != texture
    answer = predictions[conflict]
    return answer == shape[conflict], answer == texture[conflict]


def answers(model: nn.Module, x: Tensor, *, mapping: Tensor | None = None) -> Tensor:
    """Return the classes a model answers, int64 (N,) on the CPU.

    x: uint8 (N, 3, H, W). mapping: from the model's classes to others, as of
    `lib.datasets.stimuli.read_mapping`, or None where they are the same. Raises NotFinite where
    the logits are not finite.
    """
    found = logits(model, x).cpu()
    return found.argmax(1) if mapping is None else decide(found.softmax(1), mapping)


def bias(model: nn.Module, conflicts: Conflicts, *, mapping: Tensor | None = None) -> dict:
    """Measure the shape bias of a model (Geirhos et al., 2019) on all conflicts that count.

    A conflict counts where each of its two cues is recognised alone: a cue that the model does
    not know cannot lose against the other. Where the cues alone are not known, all count.

    mapping: as in `answers`.

    Returns a dict: conflicts and counted, their numbers; shape_bias (0 to 1, NaN where nothing is
    decided for a cue) and decided (share decided for either cue) among the counted;
    shape_bias_of_all and decided_of_all among all; shape_known and texture_known, the accuracy
    on each cue alone (NaN where not known).
    """
    cues = {"shape": conflicts.shape, "texture": conflicts.texture}
    answered = answers(model, conflicts.x, mapping=mapping)
    counts, known = torch.ones(len(conflicts), dtype=torch.bool), {}
    for name, cue in cues.items():
        alone = getattr(conflicts, f"{name}_alone")
        known[f"{name}_known"] = float("nan")
        if alone is not None:
            right = answers(model, alone, mapping=mapping) == cue
            known[f"{name}_known"] = float(right.double().mean())
            counts &= right
    every = (answered, *cues.values())
    counted = tuple(values[counts] for values in every)
    return {
        "conflicts": len(conflicts),
        "counted": int(counts.sum()),
        "shape_bias": shape_bias(*counted),
        "decided": decided(*counted),
        "shape_bias_of_all": shape_bias(*every),
        "decided_of_all": decided(*every),
        **known,
    }


def decide(probabilities: Tensor, mapping: Tensor) -> Tensor:
    """Return the answer among the stimuli's classes: the one of highest mean probability.

    Averaging, not summing, so that a class many of the source's belong to has no advantage, as
    Geirhos et al. (2019) do. probabilities: (N, C) of the source. mapping: as of `read_mapping`.

    Returns int64 (N,).
    """
    belongs = torch.nn.functional.one_hot(mapping[mapping >= 0]).to(probabilities.dtype)
    return (probabilities[:, mapping >= 0] @ (belongs / belongs.sum(0))).argmax(1)
