"""How robust a network is: against the radius of the attack, its effort, and other attacks."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from lib.attacks import (
    BALLS,
    L2,
    Ball,
    evaluating,
    logits_of,
    long_then_short,
    pgd,
    weighted_margin,
)
from lib.images import Images
from lib.training import pixels, predict, robust_accuracy, withstands


def curve(
    model: nn.Module, images: Images, norm: str, radii: Iterable[float], **search
) -> list[dict]:
    """Measure the accuracy under PGD of growing radius.

    norm: "l2" or "linf". radii: in pixels of [0, 1]; 0 stands for no attack. An image lost in a
    small ball is lost in every larger one, which holds it, and is not attacked again. search: as
    in `lib.training.withstands`.

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

    searches: pairs (steps, restarts). step_sizes: as in `lib.training.withstands`.

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
