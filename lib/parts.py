"""The frozen part of a network that runs by its own code, and the part that is trained."""

import torch
from torch import nn

from lib import chains


class Below(nn.Module):
    """The frozen blocks of a Grouped: its own code, run until it reaches a module, or pools."""

    def __init__(self, network, frozen, stop=None):
        super().__init__()
        self.frozen = nn.ModuleList(network.views[:frozen])
        self.stop = stop
        self.hidden = (network.body, network.views[frozen:])  # not this one's parameters

    def forward(self, x):
        """Map normalised pixels (N, 3, H, W) to what enters the module, or the pooling."""
        body, reached = self.hidden[0], []
        if self.stop is None:
            return body.forward_features(x)

        def leave(module, args):
            reached.append(args[0])
            raise _Reached

        handle = body.get_submodule(self.stop).register_forward_pre_hook(leave)
        try:
            body.forward_features(x)
        except _Reached:
            return reached[0]
        finally:
            handle.remove()

    def train(self, mode=True):
        """Stay in eval mode."""
        still(*self.hidden)
        return super().train(False)


class Above(nn.Module):
    """The unfrozen blocks of a Grouped, up to the head's input.

    links: names of the modules that they are made of, one after another, before the pooling; or
    None, where the network cannot be cut: then it runs whole, what is frozen in eval mode and
    without gradients.
    """

    def __init__(self, network, frozen, links):
        super().__init__()
        self.unfrozen = nn.ModuleList(network.views[frozen:])
        self.links = links
        self.constant = [name for names in network.groups[:frozen] for name in names]
        self.hidden = (network.body,)  # its frozen parameters are not this one's
        still(network.body, self.unfrozen)

    def forward(self, x):
        """Map the trunk's output to the head's input (N, d)."""
        (body,) = self.hidden
        if self.links is None:
            constant = {name: body.get_parameter(name).detach() for name in self.constant}
            return torch.func.functional_call(body, constant, (x,))
        for name in self.links:
            x = body.get_submodule(name)(x)
        return body.forward_head(x)

    def train(self, mode=True):
        """Set the mode of the unfrozen blocks; the rest stays in eval mode."""
        super().train(mode)
        still(*self.hidden, self.unfrozen)
        return self


class _Reached(Exception):
    """The module at which the trunk ends."""


def still(body, moving):
    """Put all modules of a body but those in the moving groups in eval mode."""
    kept = {module for group in moving for module in group.modules()}
    for module in body.modules():
        if module not in kept:
            module.training = False


def links_above(body, groups, frozen, image_size):
    """Name the modules, one after another, that hold the unfrozen parameters and no others.

    What `forward_head` does follows them, and may be all that is unfrozen. None where the
    network's code, watched on images of image_size pixels, does not hand one tensor, and nothing
    else, from the frozen to the rest.
    """
    modes = {module: module.training for module in body.modules()}
    body.eval()
    device = next(body.parameters()).device
    try:
        probe = torch.zeros(2, 3, image_size, image_size, device=device)
        root = chains.trace(body, body.forward_features, probe)
    finally:
        for module, mode in modes.items():
            module.training = mode
    unfrozen = {name for names in groups[frozen:] for name in names}
    links = [call.name for call in chains.links(root)]
    while links and not unfrozen & _inside(body, links[:1]):
        links.pop(0)
    order = root.names()
    before = {"", *order[: order.index(links[0])]} if links else {"", *order}
    inside = _inside(body, links)
    # The parameters of modules that the features do not need are those of `forward_head`.
    last = {n for names in groups for n in names if _owner(n) not in {"", *order}}
    clean = inside | last == unfrozen and not any(_owner(name) in before for name in inside)
    return links if clean else None


def _inside(body, links):
    """Collect the names of all parameters of modules."""
    return {f"{at}.{key}" for at in links for key, _ in body.get_submodule(at).named_parameters()}


def _owner(name):
    """Name the module that a parameter belongs to."""
    return name.rpartition(".")[0]
