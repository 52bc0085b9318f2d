"""Natural and adversarial training: one loop, with or without a ball."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lib.attacks import Ball, evaluating, long_then_short, pgd, survives
from lib.images import Images

BATCH = 128
"""Images measured at a time; on a CPU 500 at a time take 1.6 times as long an image."""
RESIDENT = 2**32
"""Bytes of training inputs moved to the device, at most; of more, only batches are."""


def fit(
    model: nn.Module,
    images: Images,
    *,
    epochs: int,
    ball: Ball | None = None,
    attack_steps: int = 3,
    seed: int = 0,
    lr: float = 0.2,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
) -> list[dict]:
    """Train the model in place on images, or on their worst cases in a ball.

    Minimises the mean of max over ‖δ‖ ≤ ε of the cross-entropy at x + δ
    (Madry et al., 2018, eq. 2.1); the inner maximum by PGD from a random
    start, against the model in eval mode. Without a ball, or with ε = 0,
    this is natural training.

    model: its device is used. epochs: passes over the images. attack_steps:
    PGD steps an image and epoch. seed: of batches and random starts. lr:
    largest learning rate, shaped over the run by `warm_then_cosine`.
    batch_size: images a step, at most.

    Returns one dict an epoch: epoch, loss, accuracy (on the images as
    trained on), seconds. Raises ValueError for epochs < 0, attack_steps < 1,
    batch_size < 1, or a loss that is no longer finite.
    """
    if ball is not None and attack_steps < 1:
        raise ValueError(f"attack_steps is {attack_steps}; adversarial training needs at least 1")

    def prepare(batch, y, step):
        x = pixels(batch)
        if ball is None or ball.eps == 0:
            return x
        return pgd(model, x, y, ball, steps=attack_steps, seed=seed * 1_000_003 + step)

    how: dict = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    how |= {"weight_decay": weight_decay, "schedule": warm_then_cosine}
    return descend(model, images.x, images.y, seed=seed, prepare=prepare, **how)


def descend(
    module: nn.Module,
    inputs: Tensor,
    y: Tensor,
    *,
    epochs: int,
    seed: int,
    lr: float,
    batch_size: int,
    weight_decay: float,
    schedule: Callable[[float], float],
    views: int = 1,
    prepare: Callable | None = None,
    watch: Callable[[int], object] | None = None,
) -> list[dict]:
    """Minimise the cross-entropy of module(inputs) by SGD with Nesterov momentum 0.9.

    module: to logits (N, C), trained in place where its parameters require gradients. inputs:
    (views · N, …), all images in each view, of which every epoch shows the next. y: int64 (N,).
    schedule: maps progress in [0, 1] to a factor of `lr`. prepare: maps a batch of inputs, its
    labels and the step's number to what the module is fed. watch: is called with the number of
    epochs done after each of them.

    Returns one dict an epoch, as `fit` does. Raises ValueError as `fit` does.
    """
    if epochs < 0 or batch_size < 1:
        raise ValueError(
            f"epochs is {epochs}, batch_size {batch_size}; allowed are 0 and 1 and more"
        )
    trainable = [p for p in module.parameters() if p.requires_grad]
    device = trainable[0].device
    y = y.to(device)
    if inputs.nbytes <= RESIDENT:
        inputs = inputs.to(device)
    optimiser = torch.optim.SGD(
        trainable, lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    generator = torch.Generator().manual_seed(seed)
    steps_per_epoch = math.ceil(len(y) / batch_size)
    history, step = [], 0
    module.train()
    for epoch in range(epochs):
        start, loss_sum, correct = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(y), generator=generator).to(device)
        # Equal batches, rather than a rest of one image that BatchNorm could not average over.
        for batch in order.tensor_split(steps_per_epoch):
            shown = batch + epoch % views * len(y)
            x = inputs[shown.to(inputs.device)].to(device)
            if prepare is not None:
                x = prepare(x, y[batch], step)
            optimiser.param_groups[0]["lr"] = lr * schedule(step / (epochs * steps_per_epoch))
            logits = module(x)
            loss = cross_entropy(logits, y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.detach() * len(batch)
            correct += (logits.detach().argmax(1) == y[batch]).sum()
            step += 1
        loss_mean = float(loss_sum) / len(y)
        if not math.isfinite(loss_mean):
            raise ValueError(f"the loss is {loss_mean} in epoch {epoch + 1}; lower lr, now {lr}")
        seconds = time.perf_counter() - start
        row = {"epoch": epoch + 1, "loss": loss_mean, "accuracy": int(correct) / len(y)}
        history.append({**row, "seconds": seconds})
        if watch is not None:
            watch(epoch + 1)
    module.eval()
    return history


def warm_then_cosine(progress: float) -> float:
    """Rise linearly over the first fifth of the run, then fall to 0 along a cosine."""
    if progress < 0.2:
        return (progress + 0.01) / 0.21
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8))


def thirds(progress: float) -> float:
    """Divide by 10 after each third of the run, as the paper's fine-tuning does."""
    return 10.0 ** -min(int(3 * progress), 2)


def pixels(x: Tensor) -> Tensor:
    """Map uint8 images to float32 pixels in [0, 1], of the same shape."""
    return x.to(torch.float32) / 255


def accuracy(model: nn.Module, images: Images, *, batch_size: int = BATCH) -> float:
    """Return the share of images, 0 to 1, that the model in eval mode classifies correctly.

    Raises ValueError where there are no images.
    """
    return _share(predict(model, images, batch_size=batch_size) == images.y)


@torch.no_grad()
def predict(model: nn.Module, images: Images, *, batch_size: int = BATCH) -> Tensor:
    """Return the predicted classes, int64 (N,) on the CPU, of the model in eval mode."""
    device = next(model.parameters()).device
    with evaluating(model):
        return torch.cat(
            [model(pixels(x.to(device))).argmax(1).cpu() for x in images.x.split(batch_size)]
        )


def robust_accuracy(model: nn.Module, images: Images, ball: Ball, **search) -> float:
    """Return the share of images, 0 to 1, on which PGD in the ball finds no error.

    search: as in `withstands`. Raises ValueError where there are no images.
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
    batch_size: int = BATCH,
) -> Tensor:
    """Tell of each image, bool (N,), whether the model is right on it throughout the search.

    An image that is misclassified before the attack, on the way of a search, or by an earlier
    restart is not attacked any further: it can only stay lost.

    steps, seed: as in `pgd`. restarts: independent searches, 1 and more. step_sizes: gives the
    sizes of the steps for eps and their number, `long_then_short` or `equal_steps` of
    `lib.attacks`. Raises ValueError for steps < 0 and restarts < 1.
    """
    if steps < 0 or restarts < 1:
        raise ValueError(f"steps is {steps}, restarts {restarts}; allowed are 0 and 1 and more")
    device, alphas = next(model.parameters()).device, step_sizes(ball.eps, steps)
    right = predict(model, images, batch_size=batch_size) == images.y
    for restart in range(restarts):
        for batch in right.nonzero().flatten().split(batch_size):
            x, y = pixels(images.x[batch].to(device)), images.y[batch].to(device)
            right[batch] = survives(model, x, y, ball, alphas, seed=seed + restart).cpu()
    return right


def _share(right):
    """Return the share that is True of bool (N,), or raise ValueError where there are none."""
    if len(right) == 0:
        raise ValueError("there are no images to measure the accuracy on")
    return float(right.double().mean())
