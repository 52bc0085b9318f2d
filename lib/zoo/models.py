"""Networks by name: small residual ones for 32 pixels, torchvision's, and any of timm's."""

import torch
from torch import nn

from lib.networks import small_network
from lib.zoo import timm_nets, torchvision_nets
from lib.zoo.names import divide, locate


def build(
    arch: str,
    num_classes: int,
    *,
    seed: int = 0,
    width: int | None = None,
    **settings,
) -> nn.Module:
    """Build a network with random weights.

    arch: "small_resnet" (0.17 M parameters) or "resnet18", both for about 32 pixels; one of
    torchvision's as in `lib.zoo.torchvision_nets.build`, such as "resnet50"; or any of timm's,
    whose layer groups become the freeze units (timm is optional). The first that knows the name
    is meant; "torchvision:resnet18" and "timm:resnet18" say which, and "vit_tiny_patch16_224@96"
    says more, as in `lib.zoo.names.divide`. num_classes: at least 2. seed: of the random weights,
    initialised as each library does by default. width: channels of the first stage of the small
    networks, or None for their own (16, 64). settings: of a network of timm, as in
    `lib.zoo.timm_nets.build`: image_size in pixels, where it has a fixed one, such as a ViT.

    Returns a network with `blocks` (the freeze units, from input to output), `features(x)` and
    `head`, on the CPU, in training mode; its input are pixels of [0, 1]. Raises ValueError for an
    unknown architecture, fewer than two classes, a width below 1, or a setting that the
    architecture does not have; ImportError where timm is missing.
    """
    (library, name), (_, stated) = locate(arch), divide(arch)
    if stated.image_size:
        settings["image_size"] = stated.image_size
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
    if library != "small" and width is not None:
        raise ValueError(f"width is {width}, but {arch} has its own; leave it out")
    if library != "timm" and settings:
        raise ValueError(f"{arch} has no setting {next(iter(settings))}; only timm's have any")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if library == "small":
            model: nn.Module = small_network(name, num_classes, width)
        elif library == "torchvision":
            model = torchvision_nets.build(name, num_classes)
        else:
            model = timm_nets.build(name, num_classes, **settings)
    if stated.normalisation:
        model.normalise.set(*stated.normalisation)
    # Channels last: half as fast again in small convolutions on a CPU, the same numbers.
    return model.to(memory_format=torch.channels_last)
