"""Two steps of training by hand, of a network or of its tail."""

import torch
from torch.nn.functional import cross_entropy


def take_steps(module, inputs, y, *, lr):
    """Take two steps of SGD with momentum, then put the module in eval mode."""
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=lr, momentum=0.9)
    torch.manual_seed(1)  # of dropout, where a network has it
    for _ in range(2):
        optimiser.zero_grad()
        cross_entropy(module(inputs), y).backward()
        optimiser.step()
    module.eval()
