"""Networks of timm (Wightman, 2019), with its layer groups as freeze units; timm is optional."""

import difflib
import math
from collections.abc import Iterable

import torch
from torch import nn

from lib.networks import Normalise


def find(name: str) -> str:
    """Return a name that timm knows, as it stands.

    Raises ValueError where timm does not know it, ImportError where timm is not installed.
    """
    try:
        import timm
    except ImportError:
        raise ImportError("timm is not installed; for its networks, pip install timm") from None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        like = f"; it has {', '.join(near)}" if near else ""
        raise ValueError(f"timm has no {name!r}{like}")
    return name


def build(name: str, num_classes: int, *, image_size: int = 0, **settings) -> "Grouped":
    """Build a network of timm; random weights from torch's generator.

    name: as timm has it, with a tag of weights or without. image_size: in pixels, for a network
    with a fixed size; 0 is timm's own. settings: further arguments of timm's `create_model`.

    Raises ValueError for settings that the network does not take, or a network that does not end
    in one linear layer.
    """
    import timm  # here, since it is optional

    if image_size and getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        settings["img_size"] = image_size
    try:
        body = timm.create_model(name, num_classes=num_classes, **settings)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"timm does not build {name} with {settings}: {error}") from None
    config = body.pretrained_cfg
    head = config["classifier"]
    if not hasattr(body, "group_matcher"):
        raise ValueError(f"timm does not say what the blocks of {name} are; choose another network")
    if not isinstance(head, str) or not isinstance(body.get_submodule(head), nn.Linear):
        raise ValueError(f"{name} does not end in one linear layer; choose another network")
    # The least that timm allows is its own where windows of a fixed size must fill all stages.
    alone = config.get("min_input_size") == config["input_size"]
    size = settings.get("img_size", config["input_size"][-1])
    return Grouped(body, head, size if alone or config.get("fixed_input_size") else None)


def size_of(model: nn.Module, weights: dict[str, torch.Tensor]) -> int:
    """Return the size of images that the position embeddings of a ViT are for, or 0.

    model: of `build`, of any size. weights: by name, those of another size. In pixels of a side.
    """
    body = getattr(model, "body", None)
    patches, own = getattr(body, "patch_embed", None), getattr(body, "pos_embed", None)
    theirs = next((v for n, v in weights.items() if n.endswith("pos_embed") and v.ndim == 3), None)
    if theirs is None or own is None or patches is None or not hasattr(patches, "grid_size"):
        return 0
    count = theirs.shape[1] - own.shape[1] + math.prod(patches.grid_size)
    side = math.isqrt(max(0, count))
    return side * patches.patch_size[0] if side**2 == count else 0


class Group(nn.Module):
    """A layer group: modules and parameters of a network, which stay where they are in it."""

    def __init__(self, body: nn.Module, names: list[str]) -> None:
        super().__init__()
        inside: tuple[str, ...] = ()  # prefixes of the modules that are held whole
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

    body: timm's network. head: the name of its last linear layer, which is taken out of it.
    image_size: pixels of a side of the only images that it takes, or None. The blocks are views of
    the body; what is in none of them, such as a dropout before the head, is in training mode only
    where nothing is frozen.
    """

    def __init__(self, body: nn.Module, head: str, image_size: int | None = None) -> None:
        super().__init__()
        self.image_size = image_size
        self.normalise = Normalise(body.pretrained_cfg["mean"], body.pretrained_cfg["std"])
        self.head = body.get_submodule(head)
        self.names = {key: f"body.{key}" for key in body.state_dict()}
        self.names |= {f"{head}.{key}": f"head.{key}" for key in self.head.state_dict()}
        parent, _, leaf = head.rpartition(".")
        setattr(body.get_submodule(parent), leaf, nn.Identity())
        self.body = body
        self.groups = _groups(body)
        # A tuple, so that the weights count once in the state dict.
        self.views = tuple(Group(body, names) for names in self.groups)

    @property
    def blocks(self) -> nn.ModuleList:
        """The freeze units, from input to output."""
        return nn.ModuleList(self.views)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map pixels (N, 3, H, W) in [0, 1] to the head's input (N, d).

        Raises ValueError for images of another size than the network's, where that is fixed.
        """
        if self.image_size and x.shape[-1] != self.image_size:
            raise ValueError(
                f"the network takes images of {self.image_size} pixels a side, and these have "
                f"{x.shape[-1]}; set image_size to {self.image_size}, or state another in its name"
            )
        return self.body(self.normalise(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pixels (N, 3, H, W) in [0, 1] to logits (N, C)."""
        return self.head(self.features(x))

    def train(self, mode: bool = True) -> "Grouped":
        """Set training mode, but leave frozen blocks in eval mode, as `Network.train` does."""
        super().train(mode)
        moving = [v for v in self.views if any(p.requires_grad for p in v.parameters())]
        for view in self.views:
            view.train(mode and view in moving)
        if len(moving) < len(self.views):
            still(self.body, moving)
        return self

    def cut(self, frozen: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Cut below or above all blocks, in between not: see `lib.freezing.split`."""
        if frozen == len(self.views):
            return nn.Sequential(self.normalise, self.body), nn.Sequential(self.head)
        above = Above(self, frozen) if frozen else self.body
        return nn.Sequential(self.normalise), nn.Sequential(above, self.head)


class Above(nn.Module):
    """The unfrozen blocks of a Grouped; the frozen ones run too, but are not this module's."""

    def __init__(self, network: Grouped, frozen: int) -> None:
        super().__init__()
        self.unfrozen = nn.ModuleList(network.views[frozen:])
        self.constant = [name for names in network.groups[:frozen] for name in names]
        self.hidden = (network.body,)  # a tuple, so that its frozen parameters are not this one's
        still(network.body, self.unfrozen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels (N, 3, H, W) to the head's input (N, d)."""
        (body,) = self.hidden
        # Not functional_call, which loses parameters that two modules of the body share.
        constant = [body.get_parameter(name) for name in self.constant]
        constant = [parameter for parameter in constant if parameter.requires_grad]
        for parameter in constant:
            parameter.requires_grad_(False)
        try:
            return body(x)
        finally:
            for parameter in constant:
                parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> "Above":
        """Set the mode of the unfrozen blocks; the rest stays in eval mode."""
        super().train(mode)
        still(*self.hidden, self.unfrozen)
        return self


def still(body: nn.Module, moving: Iterable[nn.Module]) -> None:
    """Put all modules of a body but those in the moving blocks in eval mode."""
    kept = {module for block in moving for module in block.modules()}
    for module in body.modules():
        if module not in kept:
            module.training = False


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
