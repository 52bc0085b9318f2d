"""Natural and adversarial training: one loop, with or without a ball."""

import math
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lib.attacks import (
    Ball,
    NotFinite,
    check_finite,
    pgd,
)
from lib.augmentation import check_policy, flipped, one_view
from lib.images import Images

BATCH = 128
"""Images measured at a time; on a CPU 500 at a time take 1.6 times as long an image."""
RESIDENT = 2**32
"""Bytes of training inputs moved to the device, at most; of more, only batches are."""


@runtime_checkable
class Shown(Protocol):
    """What training shows in place of the images, as the kinds of `lib.kinds` do."""

    def shown(self, x: Tensor, seed: int) -> Tensor:
        """Change a batch."""

    def enough(self, accuracy: float) -> bool:
        """End after an epoch."""


class Unfinished(Protocol):
    """Where the state of a run that may be stopped is kept between epochs."""

    def read(self) -> dict | None:
        """Return what was written last, or None."""

    def write(self, state: dict) -> None:
        """Keep a state, whole or not at all; of tensors, numbers, texts, lists and dicts."""


def fit(
    model: nn.Module,
    images: Images,
    *,
    epochs: int,
    ball: Ball | Shown | None = None,
    attack_steps: int = 3,
    seed: int = 0,
    lr: float = 0.2,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.0,
    augment: str = "none",
    flips: bool = False,
    bfloat16: bool = False,
    unfinished: Unfinished | None = None,
) -> list[dict]:
    """Train the model in place on images, on their worst cases in a ball, or on what else is shown.

    Minimises the mean of max over ‖δ‖ ≤ ε of the cross-entropy at x + δ
    (Madry et al., 2018, eq. 2.1); the inner maximum by PGD from a random
    start, against the model in eval mode. Without a ball, or with ε = 0,
    this is natural training.

    model: its device is used. epochs: passes over the images. ball: or
    another kind of `lib.kinds`. attack_steps: PGD steps an image and epoch.
    seed: of batches, random starts and views. lr: largest learning rate,
    shaped over the run by `warm_then_cosine`. batch_size: images a step, at
    most, and one more where else a step would have one. label_smoothing:
    share of each label, 0 to 1, that is spread over all classes. augment: a
    policy of `lib.augmentation`, by which each step has new views. flips:
    mirror half of each batch, whatever the policy. bfloat16: compute in it
    where torch deems it safe; weights, sums and what is attacked stay
    float32. unfinished: where a run that was stopped goes on, with the
    bits of one that was not, and leaves its state after each epoch.

    Returns one dict an epoch: epoch, loss, accuracy (on the images as
    trained on), seconds. Raises NotFinite for a loss or weights that are no
    longer finite, and ValueError for epochs < 0, attack_steps < 1,
    batch_size < 2, fewer than two images and an unknown policy.
    """
    if isinstance(ball, Ball) and attack_steps < 1:
        raise ValueError(f"attack_steps is {attack_steps}; adversarial training needs at least 1")
    check_policy(augment, views=1)
    module = _InBfloat16(model) if bfloat16 else model

    def prepare(batch, y, step):
        if augment != "none":
            views = one_view(batch.cpu(), range(len(batch)), step, policy=augment, seed=seed)
            batch = views.to(batch.device)
        drawn = seed * 1_000_003 + step
        x = pixels(flipped(batch, drawn) if flips else batch)
        if isinstance(ball, Ball):
            return pgd(module, x, y, ball, steps=attack_steps, seed=drawn) if ball.eps else x
        return x if ball is None else ball.shown(x, drawn)

    def watch(row):
        return isinstance(ball, Shown) and ball.enough(row["accuracy"])

    how: dict = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    how |= {"weight_decay": weight_decay, "label_smoothing": label_smoothing}
    how |= {"schedule": warm_then_cosine, "prepare": prepare, "watch": watch}
    how |= {"unfinished": unfinished}
    return descend(module, images.x, images.y, seed=seed, **how)


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
    label_smoothing: float = 0.0,
    views: int = 1,
    prepare: Callable | None = None,
    watch: Callable[[dict], object] | None = None,
    unfinished: Unfinished | None = None,
) -> list[dict]:
    """Minimise the cross-entropy of module(inputs) by SGD with Nesterov momentum 0.9.

    module: to logits (N, C), trained in place where its parameters require gradients. inputs:
    (views · N, …), all images in each view, of which every epoch shows the next. y: int64 (N,).
    schedule: maps progress in [0, 1] to a factor of `lr`. prepare: maps a batch of inputs, its
    labels and the step's number to what the module is fed. watch: is called after each epoch with
    its dict; where it returns True, training ends. The rest: as in `fit`.

    Returns one dict an epoch, as `fit` does. Raises as `fit` does.
    """
    if epochs < 0:
        raise ValueError(f"epochs is {epochs}; allowed are 0 and more")
    trainable = [p for p in module.parameters() if p.requires_grad]
    device = trainable[0].device
    y = y.to(device)
    if inputs.nbytes <= RESIDENT:
        inputs = inputs.to(device)
    optimiser = torch.optim.SGD(
        trainable, lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    generator = torch.Generator().manual_seed(seed)
    steps = steps_per_epoch(len(y), batch_size)
    history: list[dict] = []
    run = {"module": module, "optimiser": optimiser, "generator": generator, "history": history}
    if unfinished is not None:
        _restore(run, unfinished.read())
    step = len(history) * steps
    module.train()
    for epoch in range(len(history), epochs):
        start, loss_sum, correct = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(y), generator=generator).to(device)
        for batch in order.tensor_split(steps):
            shown = batch + epoch % views * len(y)
            x = inputs[shown.to(inputs.device)].to(device)
            if prepare is not None:
                x = prepare(x, y[batch], step)
            optimiser.param_groups[0]["lr"] = lr * schedule(step / (epochs * steps))
            logits = module(x)
            loss = cross_entropy(logits, y[batch], label_smoothing=label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.detach() * len(batch)
            correct += (logits.detach().argmax(1) == y[batch]).sum()
            step += 1
        loss_mean = float(loss_sum) / len(y)
        if not math.isfinite(loss_mean):
            raise NotFinite(f"the loss is {loss_mean} in epoch {epoch + 1}; lower lr, now {lr}")
        seconds = time.perf_counter() - start
        row = {"epoch": epoch + 1, "loss": loss_mean, "accuracy": int(correct) / len(y)}
        history.append({**row, "seconds": seconds})
        if watch is not None and watch(history[-1]) is True:
            break
        if unfinished is not None:
            unfinished.write(_state(run))
    check_finite(module.state_dict().values(), "the trained weights", f"lower lr, now {lr}")
    module.eval()
    return history


def _state(run):
    """Return all that the epochs still to come depend on, random numbers of dropout too."""
    return {
        "module": run["module"].state_dict(),
        "optimiser": run["optimiser"].state_dict(),
        "generator": run["generator"].get_state(),
        "dropout": torch.get_rng_state(),
        "history": run["history"],
    }


def _restore(run, state):
    """Put a run where `_state` was taken."""
    if state is None:
        return
    run["module"].load_state_dict(state["module"])
    run["optimiser"].load_state_dict(state["optimiser"])
    run["generator"].set_state(state["generator"])
    torch.set_rng_state(state["dropout"])
    run["history"] += state["history"]


class _InBfloat16(nn.Module):
    """A network computed in bfloat16 where torch deems it safe, its logits in float32."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        """Map pixels to logits."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x).float()


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Count the steps of a pass over n images, divided into equal batches.

    None has a single image, which BatchNorm could not average over: with batch_size 2 and an odd n
    one has three. Raises ValueError for n < 2 and batch_size < 2.
    """
    if n < 2 or batch_size < 2:
        raise ValueError(f"{n} images, batch_size {batch_size}; training needs at least 2 of each")
    return min(math.ceil(n / batch_size), n // 2)


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
