"""PGD beside its floor and its peers: K = 10, ResNet-18 at 32 pixels, batches of 128.

The floor is what any PGD must do: K forward runs and K gradients with respect to the input, with
nothing around them. All attack alike, from a random start and with steps of one size;
within 2 %, which is what repetitions differ by, is not slower.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import count_input_gradient, of_peak, peak, race, row
from lib.attacks import L2, Linf, pgd
from lib.networks import choose_device
from lib.zoo.models import build


def floor(model, x, y, steps):
    """Do what no PGD can do without: K forward runs and K input gradients."""
    for _ in range(steps):
        image = x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(model(image), y, reduction="sum"), image)


class InOrder(torch.autograd.Function):
    """Nothing, but that its gradient lies in memory in the order of its dimensions.

    torchattacks' ℓ2 attack takes no other; so it attacks the same fast network as the rest.
    """

    @staticmethod
    def forward(ctx, x):
        """Return x."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient, copied where it lies otherwise."""
        return gradient.contiguous()


class Plain(nn.Module):
    """A network whose input gradients are contiguous."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        """Return the logits."""
        return self.model(InOrder.apply(x))


def rivals(model, ball, steps):
    """Name each implementation of the same attack, a function of images and labels."""
    import foolbox
    import torchattacks

    alpha, linf = 2.5 * ball.eps / max(steps, 1), isinstance(ball, Linf)
    settings = {"eps": ball.eps, "alpha": alpha, "steps": steps, "random_start": True}
    theirs = torchattacks.PGD if linf else torchattacks.PGDL2
    attack = foolbox.attacks.LinfPGD if linf else foolbox.attacks.L2PGD
    attack = attack(abs_stepsize=alpha, steps=steps, random_start=True)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=next(model.parameters()).device)
    return {
        "torchattacks": theirs(Plain(model).eval(), **settings),
        "foolbox": lambda x, y: attack(wrapped, x, y, epsilons=ball.eps)[1],
    }


def rows(quick=False):
    """Measure both balls; results are the mean losses of what the attacks found."""
    arch, batch, steps, rounds = ("small_resnet", 16, 3, 1) if quick else ("resnet18", 128, 10, 3)
    device = choose_device()
    model = build(arch, 10, seed=0).to(device).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, 32, 32, generator=generator).to(device)
    y = torch.randint(0, 10, (batch,), generator=generator).to(device)
    functions, found = {"floor": lambda: floor(model, x, y, steps)}, []
    for ball in (L2(0.5), Linf(8 / 255)):
        functions["lib", ball] = lambda ball=ball: pgd(model, x, y, ball, steps=steps)
        for name, attack in rivals(model, ball, steps).items():
            functions[name, ball] = lambda attack=attack: attack(x, y)
    floor(model, x, y, 1)  # which warms up
    counted, best = steps * count_input_gradient(model, x, y), peak(device, quick=quick)
    seconds, results = race(functions, rounds)
    del results["floor"]
    with torch.no_grad():
        loss = {key: float(cross_entropy(model(x_adv), y)) for key, x_adv in results.items()}
    for ball in (L2(0.5), Linf(8 / 255)):
        ours, norm = ("lib", ball), {L2: "ℓ2", Linf: "ℓ∞"}[type(ball)]
        what = f"PGD, {norm}, K = {steps}, {arch}, {batch} images"
        beside = f"{steps} × (forward + input gradient)"
        told = of_peak(*((counted, seconds[key], best) for key in (ours, "floor")))
        found.append(row(what, beside, seconds[ours], seconds["floor"], "≤ 1.05", results=told))
        for name in ("torchattacks", "foolbox"):
            theirs = name, ball
            told = f"loss {loss[ours]:.3f}, {loss[theirs]:.3f}"
            agree = abs(loss[ours] - loss[theirs]) < 0.02 * loss[theirs]
            times = seconds[ours], seconds[theirs]
            found.append(row(what, name, *times, "≤ 1.02", results=told, agree=agree))
    return found
