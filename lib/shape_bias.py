"""Shape bias: what decides when the shape of one class meets the texture of another.

As Geirhos et al. (2019) define it: of the decisions for either of the two cues, the share of
those for the shape. A decision for a third class is for neither; `decided` says how many are for
one of the two, without which a bias means little.
"""

import numpy as np


def shape_bias(predictions, shape, texture):
    """Return the share of shape decisions among decisions for either cue (Geirhos et al., 2019).

    predictions, shape, texture: int (N,), class indices: what was answered, and the classes of
    the image's two cues. Images whose two cues agree are no conflict and are left out.

    Returns 0 (all texture) to 1 (all shape), NaN where no decision is for either cue. Raises
    ValueError where the three differ in shape or hold other than whole numbers.
    """
    for_shape, for_texture = decisions(predictions, shape, texture)
    either = (for_shape | for_texture).sum()
    return float(for_shape.sum() / either) if either else float("nan")


def decided(predictions, shape, texture):
    """Return the share, 0 to 1, of conflicts decided for either of their two cues.

    Arguments and errors: as in `shape_bias`. NaN where no image is a conflict.
    """
    for_shape, for_texture = decisions(predictions, shape, texture)
    return float((for_shape | for_texture).mean()) if len(for_shape) else float("nan")


def by_class(predictions, shape, texture, classes):
    """Return the shape bias on the conflicts with the shape of each class.

    classes: their names, in the order of the indices. The rest: as in `shape_bias`.

    Returns {class: shape bias}. Raises ValueError as `shape_bias` does.
    """
    arrays = [np.asarray(values) for values in (predictions, shape, texture)]
    return {
        name: shape_bias(*(values[arrays[1] == index] for values in arrays))
        for index, name in enumerate(classes)
    }


def decisions(predictions, shape, texture):
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
