"""Many linear heads trained at once, each on features of its own."""

import math

import torch
from torch import nn


class Heads(nn.Module):
    """S linear heads side by side: weight (S, d, C), bias (S, 1, C)."""

    def __init__(self, heads):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([head.weight.T for head in heads]).detach())
        self.bias = nn.Parameter(torch.stack([head.bias[None] for head in heads]).detach())

    def forward(self, features):
        """Map features (S, N, d), or (N, d) for all heads alike, to logits (S, N, C)."""
        return features @ self.weight + self.bias

    def apart(self):
        """Return the heads one by one, as S nn.Linear that share no memory with this."""
        heads = []
        for weight, bias in zip(self.weight.detach(), self.bias.detach(), strict=True):
            head = nn.utils.skip_init(nn.Linear, *weight.shape, device=weight.device)
            head.weight.data.copy_(weight.T)
            head.bias.data.copy_(bias[0])
            heads.append(head)
        return heads


def fit_heads(
    heads, features, y, *, epochs, seeds, lr, batch_size, weight_decay, schedule, watch=None
):
    """Train each head as `lib.training.descend` would train it by itself.

    A step of one small head costs little more than the overhead of taking it; side by side the
    heads share that. Their gradients do not mix: each sees the mean loss over its own batch.

    heads: S nn.Linear, left unchanged. features: (S, N, d); y: int64 (S, N). seeds: S numbers,
    of each head's batches. watch: called with the number of epochs done and the Heads after each
    of them, to look and not to touch; or None. The rest: as in `descend`.

    Returns (Heads, training accuracy of each in the last epoch (S,)).
    """
    model = Heads(heads)
    count, size = y.shape
    velocities = [torch.zeros_like(p) for p in model.parameters()]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps_per_epoch = math.ceil(size / batch_size)
    # All images in one row, and where in it those of each head begin: one index takes a batch.
    inputs, targets = features.flatten(0, 1), y.flatten()
    first = size * torch.arange(count, device=y.device)[:, None]
    step = 0
    correct = torch.zeros(count, device=y.device)
    for epoch in range(epochs):
        orders = [torch.randperm(size, generator=generator) for generator in generators]
        for batch in torch.stack(orders).to(y.device).tensor_split(steps_per_epoch, dim=1):
            members = (first + batch).flatten()
            x = inputs.index_select(0, members).view(*batch.shape, -1)
            labels = targets.index_select(0, members).view(batch.shape)
            rate = lr * schedule(step / (epochs * steps_per_epoch))
            logits = _step(model, velocities, x, labels, rate, weight_decay)
            if epoch == epochs - 1:
                correct += (logits.argmax(2) == labels).sum(1)
            step += 1
        if watch is not None:
            watch(epoch + 1, model)
    return model, correct / size


@torch.no_grad()
def _step(model, velocities, x, labels, rate, weight_decay):
    """Take a step of SGD with Nesterov momentum 0.9 on a batch (S, n, d); return its logits.

    The gradient of the cross-entropy by the logits is written out: the probabilities less 1 at the
    label. For so small a step automatic differentiation and an optimiser take three times as long.
    """
    logits, own = model(x), labels[:, :, None]
    errors = logits.softmax(2)
    errors.scatter_(2, own, errors.gather(2, own) - 1).div_(x.shape[1])
    gradients = x.mT @ errors, errors.sum(1, keepdim=True)
    for parameter, gradient, velocity in zip(
        model.parameters(), gradients, velocities, strict=True
    ):
        gradient.add_(parameter, alpha=weight_decay)
        velocity.mul_(0.9).add_(gradient)
        parameter.sub_(gradient.add_(velocity, alpha=0.9), alpha=rate)
    return logits
