"""Many linear heads trained at once, each on features of its own."""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy


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
    optimiser = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps_per_epoch = math.ceil(size / batch_size)
    which = torch.arange(count, device=y.device)[:, None]
    step = 0
    for epoch in range(epochs):
        correct = torch.zeros(count, device=y.device)
        orders = [torch.randperm(size, generator=generator) for generator in generators]
        for batch in torch.stack(orders).to(y.device).tensor_split(steps_per_epoch, dim=1):
            optimiser.param_groups[0]["lr"] = lr * schedule(step / (epochs * steps_per_epoch))
            logits, labels = model(features[which, batch]), y[which, batch]
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            optimiser.zero_grad()
            (loss / batch.shape[1]).backward()
            optimiser.step()
            correct += (logits.detach().argmax(2) == labels).sum(1)
            step += 1
        if watch is not None:
            watch(epoch + 1, model)
    return model, correct / size
