"""Networks of torchvision as chains of blocks; the residual ones block by block."""

from torch import nn

from lib.networks import Network, Normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, as torchvision's weights and the published robust ones expect them."""


def build(name: str, num_classes: int) -> Network:
    """Build a network of torchvision; random weights from torch's generator.

    name: one of `CHAINS`. num_classes: at least 2.

    Its freeze units: a residual network's stem and each residual block (He et al., 2016), so that
    the last 3 of ResNet-50 are its last stage and the last 9 the last two; VGG's convolutions and
    hidden layers; DenseNet's blocks; the blocks of MobileNet-v2, MNASNet and ShuffleNet-v2.

    It takes pixels of any size from 32 on.
    """
    # Imported here: it takes as long as torch itself, and the small networks do without.
    import torchvision

    if name == "wide_resnet50_4":  # of Salman et al. (2020); torchvision has no name for it
        net = torchvision.models.resnet50(width_per_group=256, num_classes=num_classes)
    else:
        net = torchvision.models.get_model(name, num_classes=num_classes)
    before = net.state_dict(keep_vars=True)
    blocks, pool, head = CHAINS[name](net)
    network = Network(Normalise(MEAN, STD), blocks, pool, head)
    here = {id(value): key for key, value in network.state_dict(keep_vars=True).items()}
    network.names = {key: here[id(value)] for key, value in before.items()}
    return network


def _residual(net):
    """Chain the stem and the residual blocks of all four stages."""
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    blocks = [stem, *net.layer1, *net.layer2, *net.layer3, *net.layer4]
    return blocks, nn.Sequential(net.avgpool, nn.Flatten()), net.fc


def _vgg(net):
    """Chain the convolutions, each with what follows it, and the hidden linear layers."""
    blocks = _starting_at(nn.Conv2d, net.features)
    hidden = _starting_at(nn.Linear, net.classifier[:-1])
    hidden[0] = nn.Sequential(net.avgpool, nn.Flatten(), *hidden[0])
    return [*blocks, *hidden], nn.Identity(), net.classifier[-1]


def _densenet(net):
    """Chain the stem and the dense blocks, each with the transition or the norm that follows."""
    layers = list(net.features)
    pairs = [nn.Sequential(*layers[at : at + 2]) for at in range(4, len(layers), 2)]
    pool = nn.Sequential(nn.ReLU(inplace=True), *_average())
    return [nn.Sequential(*layers[:4]), *pairs], pool, net.classifier


def _mobilenet(net):
    """Chain the inverted residual blocks."""
    dropout, head = net.classifier
    return list(net.features), nn.Sequential(*_average(), dropout), head


def _mnasnet(net):
    """Chain the stem, the inverted residual blocks of all stages and the last convolution."""
    stages = [block for stage in net.layers[8:14] for block in stage]
    dropout, head = net.classifier
    blocks = [net.layers[:8], *stages, net.layers[14:]]
    return blocks, nn.Sequential(*_average(), dropout), head


def _shufflenet(net):
    """Chain the stem, the blocks of all stages and the last convolution."""
    stem = nn.Sequential(net.conv1, net.maxpool)
    blocks = [stem, *net.stage2, *net.stage3, *net.stage4, net.conv5]
    return blocks, nn.Sequential(*_average()), net.fc


def _starting_at(kind, layers):
    """Divide layers into sequences that each begin with a layer of a kind."""
    parts = []
    for layer in layers:
        if isinstance(layer, kind):
            parts.append([])
        parts[-1].append(layer)
    return [nn.Sequential(*part) for part in parts]


def _average():
    return nn.AdaptiveAvgPool2d(1), nn.Flatten()


CHAINS = {
    **dict.fromkeys(("resnet18", "resnet50", "resnext50_32x4d"), _residual),
    **dict.fromkeys(("wide_resnet50_2", "wide_resnet50_4"), _residual),
    "vgg16_bn": _vgg,
    "densenet161": _densenet,
    "mobilenet_v2": _mobilenet,
    "mnasnet1_0": _mnasnet,
    "shufflenet_v2_x1_0": _shufflenet,
}
"""How each is cut into (blocks, pool, head). Those that robust weights are published of."""
