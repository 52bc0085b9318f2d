"""How often a network is right: as images are, and at their worst, by radius, effort and attack."""

import warnings
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from lib.attacks import (
    BALLS,
    DAMAGED,
    L2,
    Ball,
    Loss,
    check_finite,
    evaluating,
    logits_of,
    long_then_short,
    pgd,
    survives,
    weighted_margin,
    whole,
)
from lib.images import Images
from lib.training import BATCH, pixels


def accuracy(model: nn.Module, images: Images, *, batch_size: int = BATCH) -> float:
    """Return the share of images, 0 to 1, that the model in eval mode classifies correctly.

    Raises ValueError where there are no images, and as `predict` does.
    """
    return _share(predict(model, images, batch_size=batch_size) == images.y)


def predict(model: nn.Module, images: Images, *, batch_size: int = BATCH) -> Tensor:
    """Return the predicted classes, int64 (N,) on the CPU. The rest: as in `logits`."""
    return logits(model, images.x, batch_size=batch_size).argmax(1).cpu()


@torch.no_grad()
def logits(model: nn.Module, x: Tensor, *, batch_size: int = BATCH) -> Tensor:
    """Return the logits (N, K) of the model in eval mode, on its device, in float32 at least.

    model: of any precision. x: uint8 (N, 3, H, W). Raises NotFinite where they are not finite.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        parts = [logits_of(model, pixels(part.to(device))) for part in x.split(batch_size)]
    check_finite(parts, "the network's logits", DAMAGED)
    return torch.cat(parts)


def robust_accuracy(model: nn.Module, images: Images, ball: Ball, **search) -> float:
    """Return the share of images, 0 to 1, on which PGD in the ball finds no error.

    It is at least the share that withstands every change in the ball: a longer or another search
    may find more errors. search, and what is warned of: as in `withstands`. Raises ValueError
    where there are no images, and as `withstands` does.
    """
    return _share(withstands(model, images, ball, **search))


def withstands(
    model: nn.Module,
    images: Images,
    ball: Ball,
    *,
    steps: int,
    restarts: int = 1,
    step_sizes: Callable[[float, int], list[float]] = long_then_short,
    seed: int = 0,
    loss: Loss = weighted_margin,
    batch_size: int = BATCH,
) -> Tensor:
    """Tell of each image, bool (N,), whether the model is right on it throughout the search.

    An image that is misclassified before the attack, on the way of a search, or by an earlier
    restart is not attacked any further: it can only stay lost.

    model: of any precision. steps, seed: as in `pgd`. restarts: independent searches, 1 and more.
    step_sizes: gives the sizes of the steps for eps and their number, `long_then_short` or
    `equal_steps` of `lib.attacks`. loss: what is climbed, by default `weighted_margin`, for which
    the scale of the logits does not count.

    Warns where the gradient of an image that withstands was exactly 0 throughout, as a network
    that rounds or masks its input has it: nothing was tried on it. Raises ValueError for steps < 0
    and restarts < 1, and NotFinite as `predict` does.
    """
    steps, restarts = whole("steps", steps, 0), whole("restarts", restarts, 1)
    device, alphas = next(model.parameters()).device, step_sizes(ball.eps, steps)
    right = predict(model, images, batch_size=batch_size) == images.y
    blind = torch.full_like(right, any(alphas))  # in a ball of radius 0 there is nothing to try
    for restart in range(restarts):
        for batch in right.nonzero().flatten().split(batch_size):
            x, y = pixels(images.x[batch].to(device)), images.y[batch].to(device)
            found = survives(model, x, y, ball, alphas, seed=seed + restart, loss=loss)
            right[batch], unled = (told.cpu() for told in found)
            blind[batch] &= unled
    if untried := int((blind & right).sum()):
        warnings.warn(
            f"{untried} of {len(images)} images count as right under attack, but the network's "
            "gradient there is exactly 0, so nothing was tried: does it round or mask its input?",
            RuntimeWarning,
            stacklevel=2,
        )
    return right


def _share(right):
    """Return the share that is True of bool (N,), or raise ValueError where there are none."""
    if len(right) == 0:
        raise ValueError("there are no images to measure the accuracy on")
    return float(right.double().mean())


def curve(
    model: nn.Module, images: Images, norm: str, radii: Iterable[float], **search
) -> list[dict]:
    """Measure the accuracy under PGD of growing radius.

    norm: "l2" or "linf". radii: in pixels of [0, 1]; 0 stands for no attack. An image lost in a
    small ball is lost in every larger one, which holds it, and is not attacked again. search: as
    in `withstands`.

    Returns one dict a radius: attack, attack_eps, accuracy (0 to 1).
    """
    kept = torch.arange(len(images))
    rows = []
    for eps in sorted(radii):
        kept = kept[withstands(model, images[kept], BALLS[norm](eps), **search)]
        rows.append({"attack": norm, "attack_eps": eps, "accuracy": len(kept) / len(images)})
    return rows


def effort(
    model: nn.Module,
    images: Images,
    ball: Ball,
    searches: Iterable[tuple[int, int]],
    *,
    step_sizes: Callable[[float, int], list[float]] = long_then_short,
    seed: int = 0,
) -> list[dict]:
    """Measure the accuracy under PGD of several efforts, each on all images.

    searches: pairs (steps, restarts). step_sizes: as in `withstands`.

    Returns one dict each: step_sizes (its name), steps, restarts, accuracy (0 to 1).
    """
    rows = []
    for steps, restarts in searches:
        search = {"step_sizes": step_sizes, "steps": steps, "restarts": restarts}
        share = robust_accuracy(model, images, ball, seed=seed, **search)
        rows.append({**search, "step_sizes": step_sizes.__name__, "accuracy": share})
    return rows


def examples(
    models: Mapping[str, nn.Module], images: Images, ball: Ball, *, steps: int, seed: int = 0
) -> dict[str, tuple[Tensor, Tensor]]:
    """Attack images by PGD, to look at.

    Returns by name (x_adv (N, 3, H, W) in [0, 1], predicted (N,)), all on the CPU.
    """
    alpha, found = long_then_short(ball.eps, steps), {}
    for name, model in models.items():
        device = next(model.parameters()).device
        x, y = pixels(images.x.to(device)), images.y.to(device)
        how: dict = {"steps": steps, "alpha": alpha, "seed": seed}
        x_adv = pgd(model, x, y, ball, loss=weighted_margin, **how)
        with torch.no_grad(), evaluating(model):
            found[name] = x_adv.cpu(), logits_of(model, x_adv).argmax(1).cpu()
    return found


def independent(model: nn.Module, images: Images, ball: L2, *, steps: int = 100) -> list[dict]:
    """Measure the accuracy under ℓ2 attacks of the library Foolbox (Rauber et al., 2017).

    DDN (Rony et al., 2019), DeepFool (Moosavi-Dezfooli et al., 2016) and Carlini and Wagner
    (2017) each look for the smallest perturbation that fools the network; an image is lost where
    it is no larger than ball.eps. steps: of each search.

    Returns one dict an attack, and one for the worst case of each image over the three:
    attack, accuracy (0 to 1). Raises ValueError for another ball than L2.
    """
    if not isinstance(ball, L2):
        raise ValueError(f"the ball is {ball}; these attacks search in the ℓ2 norm: use L2(eps)")
    import foolbox  # slow to import, and needed nowhere else

    attacks = {
        "DDN": foolbox.attacks.DDNAttack(steps=steps),
        "DeepFool": foolbox.attacks.L2DeepFoolAttack(steps=steps),
        "Carlini–Wagner": foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=3, steps=steps, stepsize=0.02, initial_const=1.0
        ),
    }
    device = next(model.parameters()).device
    lost = {name: predict(model, images) != images.y for name in attacks}
    with evaluating(model):
        target = foolbox.PyTorchModel(model, bounds=(0, 1), device=device)
        for name, attack in attacks.items():
            # Foolbox is given the images that are still right, all in one batch.
            right = (~lost[name]).nonzero().flatten()
            if len(right) == 0:
                continue
            x, y = pixels(images.x[right].to(device)), images.y[right].to(device)
            *_, fooled = attack(target, x, y, epsilons=ball.eps)
            lost[name][right] = fooled.cpu()
    lost["worst of the three"] = torch.stack(list(lost.values())).any(dim=0)
    return [{"attack": k, "accuracy": 1 - float(v.double().mean())} for k, v in lost.items()]
