"""Many linear heads trained at once, each on features of its own."""

import math

import torch
from torch import nn


@torch.no_grad()
def fit_heads(
    heads, features, y, *, epochs, seeds, lr, batch_size, weight_decay, schedule, watch=None
):
    """Train each head as `lib.training.descend` would train it by itself.

    A step of one small head costs little more than the overhead of taking it; side by side the
    heads share that, and with the gradient of the cross-entropy written out, (p − y) hᵀ, a step
    is a handful of operations. The heads do not mix: each sees the mean loss over its own batch.

    heads: S nn.Linear of d features and C classes, left unchanged. features: (S, N, d), or of V
    views of each image (S, V · N, d), of which every epoch shows the next; y: int64 (S, N). seeds:
    S numbers, of each head's batches. watch: called with the number of epochs done and a copy of
    the heads after each of them; or None. The rest: as in `descend`.

    Returns (S nn.Linear, training accuracy of each in the last epoch (S,)).
    """
    joined = torch.stack([torch.cat([h.weight, h.bias[:, None]], dim=1) for h in heads])
    weight, bias = joined[:, :, :-1], joined[:, :, -1:]
    gradient, velocity = torch.zeros_like(joined), torch.zeros_like(joined)
    count, size = y.shape
    rows, views = features.flatten(0, 1), features.shape[1] // size
    first = features.shape[1] * torch.arange(count, device=y.device)[:, None]  # of each head
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps_per_epoch, step = math.ceil(size / batch_size), 0
    for epoch in range(epochs):
        correct = torch.zeros(count, device=y.device)
        orders = [torch.randperm(size, generator=generator) for generator in generators]
        for batch in torch.stack(orders).to(y.device).tensor_split(steps_per_epoch, dim=1):
            shown = batch + epoch % views * size + first
            h = rows.index_select(0, shown.flatten()).view(*batch.shape, -1)  # (S, B, d)
            labels = y.gather(1, batch)[:, None]
            # Classes before images: several times as fast as the other way round.
            logits = torch.baddbmm(bias, weight, h.mT)  # (S, C, B)
            residual = logits.softmax(1)
            residual.scatter_add_(1, labels, residual.new_full(labels.shape, -1))
            residual /= batch.shape[1]
            torch.bmm(residual, h, out=gradient[:, :, :-1])
            torch.sum(residual, 2, keepdim=True, out=gradient[:, :, -1:])
            gradient.add_(joined, alpha=weight_decay)
            velocity.mul_(0.9).add_(gradient)
            rate = lr * schedule(step / (epochs * steps_per_epoch))
            joined.sub_(gradient.add_(velocity, alpha=0.9), alpha=rate)  # Nesterov's step
            if epoch == epochs - 1:
                correct += (logits.argmax(1, keepdim=True) == labels).sum((1, 2))
            step += 1
        if watch is not None:
            watch(epoch + 1, _apart(joined))
    return _apart(joined), correct / size


def _apart(joined):
    """Return heads (S, C, d + 1), bias last, as S nn.Linear that share no memory with them."""
    heads = []
    for weights in joined:
        features, classes = weights.shape[1] - 1, weights.shape[0]
        head = nn.utils.skip_init(
            nn.Linear, features, classes, device=weights.device, dtype=weights.dtype
        )
        head.weight.copy_(weights[:, :-1])
        head.bias.copy_(weights[:, -1])
        heads.append(head)
    return heads
