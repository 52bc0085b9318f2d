"""Robust accuracy beside its peers: a natural and a robust network, 20 steps, 1,000 images.

The peers follow every image to the end of its search. The library follows it no further once it
is fooled, which saves most where the network is natural. All search from a random start and on
batches of the same size; the peers with steps of one size, since they know no others. Results agree
where the library finds as many errors as the peer, but for 0.3 points, or more.
"""

import torch

from benchmarks.measure import race, row
from benchmarks.pgd import rivals
from lib.attacks import L2
from lib.microcosm import draw
from lib.models import build, choose_device
from lib.training import fit, pixels, robust_accuracy

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
        fit(model, train, epochs=1 if quick else 6, ball=ball if kind == "robust" else None)
        model.requires_grad_(False).eval()

        def ours(model=model):
            return robust_accuracy(model, test, ball, steps=steps, batch_size=BATCH)

        functions = {"lib": ours}
        for name, attack in rivals(model, ball, steps).items():
            functions[name] = lambda a=attack, model=model: by_peer(a, model, test)
        robust_accuracy(model, test, ball, steps=1)  # which warms up
        seconds, results = race(functions, rounds)
        what = f"robust accuracy, {kind} network, {steps} steps, {n:,} images"
        for name in ("torchattacks", "foolbox"):
            told = f"{results['lib']:.1%}, {results[name]:.1%}"
            # Of so few images as in a quick run, one is more than 0.3 points.
            agree = results["lib"] <= results[name] + max(0.003, 2 / n)
            aim = "≤ 0.5" if kind == "natural" else "≤ 1"
            times = seconds["lib"], seconds[name]
            found.append(row(what, name, *times, aim, results=told, agree=agree))
    return found
