"""An adversarial epoch beside a natural one, and what single steps of the attack cost and keep.

With K steps of the attack each step of training needs K input gradients more. Where a training step
costs three forward runs and an input gradient two, the floor is (2K + 3)/3 of a natural epoch. On a
small network an input gradient costs more than that, because a natural step needs none with respect
to pixels; so beside it stands the floor of what a natural epoch and K input gradients really take.

A single step from a random start of the ball is `fit(…, attack_steps=1)` (Wong et al., 2020,
"fast FGSM"). Beside it N-FGSM (de Jorge et al., 2022): noise of twice the ball, one step of its
radius, and no projection.
"""

import torch

from benchmarks.measure import count_operations, of_peak, peak, race, row
from lib.attacks import L2, evaluating, input_gradient
from lib.microcosm import draw
from lib.networks import choose_device
from lib.robustness import robust_accuracy
from lib.training import descend, fit, pixels, warm_then_cosine
from lib.zoo.models import build

SETTINGS = {"seed": 0, "lr": 0.2, "batch_size": 64, "weight_decay": 5e-4}


def n_fgsm(model, images, ball, epochs):
    """Train on images with noise of twice the ball and one step more, not projected."""
    wide = type(ball)(2 * ball.eps)

    def prepare(batch, y, step):
        x = pixels(batch)
        noisy = x + wide.random_start(x, torch.Generator().manual_seed(step))
        with evaluating(model):
            ascent = ball.ascent(input_gradient(model, noisy, y))
        return (noisy + ball.eps * ascent).clamp(0, 1)

    settings = {"epochs": epochs, "schedule": warm_then_cosine, **SETTINGS}
    descend(model, images.x, images.y, prepare=prepare, **settings)


def gradients(model, images):
    """Take the input gradient of every image once."""
    device, size = next(model.parameters()).device, SETTINGS["batch_size"]
    with evaluating(model):
        for x, y in zip(images.x.split(size), images.y.split(size), strict=True):
            input_gradient(model, pixels(x.to(device)), y.to(device))


def rows(quick=False):
    """Measure the times of single epochs, and the robust accuracies of whole trainings."""
    n, epochs, rounds = (128, 1, 1) if quick else (2000, 6, 5)
    torch.set_num_threads(1)
    ball, train, test = L2(0.5), draw(n, 0), draw(64 if quick else 1000, 1)

    def by_pgd(steps):
        return lambda model, epochs: fit(
            model, train, epochs=epochs, ball=ball, attack_steps=steps, **SETTINGS
        )

    ways = {
        "natural": lambda model, epochs: fit(model, train, epochs=epochs, **SETTINGS),
        "K = 1": by_pgd(1),
        "K = 3": by_pgd(3),
        "N-FGSM": lambda model, epochs: n_fgsm(model, train, ball, epochs),
    }
    kept = {}
    for name, way in ways.items():  # which warms up too
        model = build("small_resnet", 10, seed=0).to(choose_device())
        way(model, epochs)
        if name != "natural":
            kept[name] = robust_accuracy(model, test, ball, steps=5 if quick else 20)
    model = build("small_resnet", 10, seed=0).to(choose_device())
    functions = {name: lambda way=way: way(model, 1) for name, way in ways.items()}
    functions["gradients"] = lambda: gradients(model, train)
    seconds, _ = race(functions, rounds)
    best = peak(choose_device(), quick=quick)
    counted, found = count_operations(functions["natural"]), []
    for name, steps in (("K = 1", 1), ("K = 3", 3), ("N-FGSM", 1)):
        bound = (2 * steps + 3) / 3
        theirs = [bound * natural for natural in seconds["natural"]]
        told = f"{kept[name]:.1%} robust after {epochs} epochs; "
        told += of_peak(*((bound * counted, taken, best) for taken in (seconds[name], theirs)))
        what, beside = f"an adversarial epoch, {name}", f"{bound:.2f} natural epochs"
        found.append(row(what, beside, seconds[name], theirs, "≤ 1.1", results=told))
        pairs = zip(seconds["natural"], seconds["gradients"], strict=True)
        theirs = [natural + steps * each for natural, each in pairs]
        beside = f"a natural epoch and {steps} × its input gradients"
        found.append(row(what, beside, seconds[name], theirs, "≤ 1.1"))
    for name in ("K = 1", "N-FGSM"):
        told = f"{kept[name]:.1%}, {kept['K = 3']:.1%} robust"
        what = f"single steps, {name}"
        found.append(row(what, "K = 3", seconds[name], seconds["K = 3"], results=told))
    return found
