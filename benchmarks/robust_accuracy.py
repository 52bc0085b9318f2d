"""Robust accuracy beside its peers: a natural and a robust network, 20 steps, 1,000 images.

The peers follow every image to the end of its search. The library follows it no further once it
is fooled, which saves most where the network is natural. All search from a random start and on
batches of the same size. Rows "the peers' search" climb the cross-entropy by equal steps, and
results agree within 0.3 points; random starts alone can differ by more. The others take the
library's own steps and loss, which find more errors, and results agree where it finds as many as
the peer, but for 0.3 points.
"""

import torch

from benchmarks.measure import race, row
from benchmarks.pgd import rivals
from lib.attacks import L2, cross_entropy_of_each, equal_steps
from lib.microcosm import draw
from lib.networks import choose_device
from lib.robustness import robust_accuracy
from lib.training import fit, pixels
from lib.zoo.models import build

BATCH = 500


def by_peer(attack, model, images):
    """Attack batch by batch, and return the share of images that is still right."""
    device, right = next(model.parameters()).device, 0
    for x, y in zip(images.x.split(BATCH), images.y.to(device).split(BATCH), strict=True):
        x_adv = attack(pixels(x.to(device)), y)
        with torch.no_grad():
            right += int((model(x_adv).argmax(1) == y).sum())
    return right / len(images)


def rows(quick=False):
    """Measure both networks; results are accuracies."""
    n, steps, rounds = (60, 4, 1) if quick else (1000, 20, 3)
    torch.set_num_threads(1)
    ball, device, found = L2(0.5), choose_device(), []
    train, test = draw(300 if quick else 2000, 0), draw(n, 1)
    for kind in ("natural", "robust"):
        model = build("small_resnet", 10, seed=0).to(device)
        settings = {"ball": ball if kind == "robust" else None, "attack_steps": 1}
        fit(model, train, epochs=1 if quick else 6, **settings)
        model.requires_grad_(False).eval()

        def ours(model=model, **search):
            return robust_accuracy(model, test, ball, steps=steps, batch_size=BATCH, **search)

        theirs = {"step_sizes": equal_steps, "loss": cross_entropy_of_each}
        functions = {
            "own search": ours,
            "the peers' search": lambda ours=ours, theirs=theirs: ours(**theirs),
        }
        for name, attack in rivals(model, ball, steps).items():
            functions[name] = lambda a=attack, model=model: by_peer(a, model, test)
        robust_accuracy(model, test, ball, steps=1)  # which warms up
        seconds, results = race(functions, rounds)
        few = max(0.003, 2 / n) + 1e-9  # of a quick run's images, one is more than 0.3 points
        aim = "≤ 0.5" if kind == "natural" else "≤ 1"
        for way in ("own search", "the peers' search"):
            what = f"robust accuracy, {kind} network, {n:,} images, {steps} steps, {way}"
            for name in ("torchattacks", "foolbox"):
                above = results[way] - results[name]
                agree = above <= few if way == "own search" else abs(above) <= few
                told = f"{results[way]:.1%}, {results[name]:.1%}"
                times = seconds[way], seconds[name]
                found.append(row(what, name, *times, aim, results=told, agree=agree))
    return found
