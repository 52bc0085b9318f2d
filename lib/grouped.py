"""Networks of timm (Wightman, 2019), with its layer groups as freeze units; timm is optional."""

import difflib

from torch import nn

from lib.networks import Normalise
from lib.parts import Above, Below, links_above, still


def find(name):
    """Return a name that timm knows, as it stands.

    Raises ValueError where timm does not know it, ImportError where timm is not installed.
    """
    timm = _timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        like = f"; it has {', '.join(near)}" if near else ""
        raise ValueError(f"timm has no {name!r}{like}")
    return name


def build(name, num_classes, *, pretrained=False, image_size=None, **settings):
    """Build a network of timm as a Grouped; random weights from torch's generator.

    name: as timm has it, with a tag of weights or without. pretrained: with the weights timm
    publishes, downloaded once. image_size: for a network with a fixed size, in pixels.
    settings: further arguments of timm's `create_model`.

    Returns a Grouped. Raises ValueError for settings that the network does not take, or a
    network that does not end in one linear layer; and what the download raises.
    """
    timm = _timm()
    size = {}
    if image_size and timm.get_pretrained_cfg(name).fixed_input_size:
        size = {"img_size": image_size}
    try:
        body = timm.create_model(
            name, pretrained=pretrained, num_classes=num_classes, **size, **settings
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(f"timm does not build {name} with {settings | size}: {error}") from None
    expected = body.pretrained_cfg
    where = expected["classifier"]
    if not isinstance(where, str) or not isinstance(body.get_submodule(where), nn.Linear):
        raise ValueError(f"{name} does not end in one linear layer; choose another network")
    return Grouped(body, where, image_size or max(expected["input_size"][1:]))


class Group(nn.Module):
    """A layer group: modules and parameters of a network, which stay where they are in it."""

    def __init__(self, body, names):
        super().__init__()
        inside = ()  # prefixes of the modules that are held whole
        for name, module in body.named_modules():
            held = {f"{name}.{key}" for key, _ in module.named_parameters()}
            if name and held and held <= set(names) and not name.startswith(inside):
                self.add_module(name.replace(".", "/"), module)
                inside += (f"{name}.",)
        for name in names:
            if not name.startswith(inside):
                self.register_parameter(name.replace(".", "/"), body.get_parameter(name))


class Grouped(nn.Module):
    """A classifier that runs by a library's own code: normalisation, body, linear head.

    body: timm's network. where: the name of its last linear layer, which is taken out of it as
    `head`. image_size: pixels that the body can be tried with. The blocks are views of the body;
    what is in none of them, such as a dropout before the head, is in training mode only where
    nothing is frozen.
    """

    def __init__(self, body, where, image_size):
        super().__init__()
        expected = body.pretrained_cfg
        self.normalise = Normalise(expected["mean"], expected["std"])
        self.image_size = image_size
        self.head = body.get_submodule(where)
        self.names = {
            key: f"head.{key.rpartition('.')[2]}" if key.startswith(f"{where}.") else f"body.{key}"
            for key in body.state_dict()
        }
        parent, _, leaf = where.rpartition(".")
        setattr(body.get_submodule(parent), leaf, nn.Identity())
        self.body = body
        self.groups = _groups(body)
        # A tuple, so that the weights count once in the state dict.
        self.views = tuple(Group(body, names) for names in self.groups)

    @property
    def blocks(self):
        """The freeze units, from input to output."""
        return nn.ModuleList(self.views)

    def features(self, x):
        """Map pixels (N, 3, H, W) in [0, 1] to the head's input (N, d)."""
        return self.body(self.normalise(x))

    def forward(self, x):
        """Map pixels (N, 3, H, W) in [0, 1] to logits (N, C)."""
        return self.head(self.features(x))

    def train(self, mode=True):
        """Set training mode, but leave frozen blocks in eval mode, as `Network.train` does."""
        super().train(mode)
        moving = [v for v in self.views if any(p.requires_grad for p in v.parameters())]
        for view in self.views:
            view.train(mode and view in moving)
        if len(moving) < len(self.views):
            still(self.body, moving)
        return self

    def cut(self, frozen):
        """Cut after the first `frozen` blocks, where its code allows: see `lib.freezing.split`."""
        if frozen == len(self.views):
            return nn.Sequential(self.normalise, self.body), nn.Sequential(self.head)
        if frozen == 0:
            return nn.Sequential(self.normalise), nn.Sequential(self.body, self.head)
        links = links_above(self.body, self.groups, frozen, self.image_size)
        above = Above(self, frozen, links)
        below = [] if links is None else [Below(self, frozen, *links[:1])]
        return nn.Sequential(self.normalise, *below), nn.Sequential(above, self.head)


def _groups(body):
    """List the names of the parameters in each of timm's layer groups, from input to output.

    timm counts the norm after a convolution as a group of its own where the architecture names
    its layers by number; parameters of one dimension only go with the group before.
    """
    from timm.models import group_parameters

    groups = []
    for _, names in sorted(group_parameters(body, body.group_matcher(coarse=False)).items()):
        if groups and all(body.get_parameter(name).ndim < 2 for name in names):
            groups[-1] += names
        else:
            groups.append(list(names))
    return groups


def _timm():
    """Import timm, which the book needs for no other networks."""
    try:
        import timm
    except ImportError:
        raise ImportError("timm is not installed; for its networks, pip install timm") from None
    return timm
