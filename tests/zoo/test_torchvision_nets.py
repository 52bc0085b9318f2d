"""Against the networks of torchvision itself."""

import pytest
import torch
import torchvision

from lib.freezing import split
from lib.zoo import torchvision_nets

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
# The stem and He et al.'s residual blocks; elsewhere what torchvision's own lists hold.
UNITS = {
    "resnet18": 1 + 8,
    "resnet50": 1 + 16,
    "wide_resnet50_2": 1 + 16,
    "wide_resnet50_4": 1 + 16,
    "resnext50_32x4d": 1 + 16,
    "vgg16_bn": 13 + 2,
    "densenet161": 1 + 4,
    "mobilenet_v2": 1 + 17 + 1,
    "mnasnet1_0": 1 + 3 + 3 + 3 + 2 + 4 + 1 + 1,
    "shufflenet_v2_x1_0": 1 + 4 + 8 + 4 + 1,
}


@pytest.fixture
def uninitialised(monkeypatch):
    """Skip the drawing of weights, which takes longest."""
    for init in ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(torch.nn.init, init, lambda tensor, *args, **kwargs: tensor)


@pytest.mark.parametrize("name", sorted(set(torchvision_nets.CHAINS) - {"wide_resnet50_4"}))
def test_the_same_numbers_as_torchvision(name, uninitialised):
    model = torchvision_nets.build(name, 7)
    net = torchvision.models.get_model(name, weights=None, num_classes=7)
    assert len(model.blocks) == UNITS[name]
    weights, generator = model.state_dict(), torch.Generator().manual_seed(0)
    theirs = net.state_dict()
    assert list(model.names) == list(theirs) and set(model.names.values()) == set(weights)
    for key, value in theirs.items():
        if value.is_floating_point():
            fan_in = max(1, value[0].numel())
            scale = (2 / fan_in) ** 0.5 if value.ndim > 1 else 0.1
            value.normal_(0, scale, generator=generator)
            if value.ndim == 1 and not key.endswith("bias") and not key.endswith("mean"):
                value.abs_().add_(1)  # variances and gains
        weights[model.names[key]].copy_(value)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    model.eval(), net.eval()
    with torch.no_grad():
        expected = net((x - MEAN) / STD)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.01  # not all alike
        trunk, tail = split(model, 3)
        torch.testing.assert_close(tail(trunk(x)), expected, rtol=1e-4, atol=1e-4)
    assert model.head.in_features == model.features(x[:1]).shape[1]


def test_the_one_that_torchvision_does_not_name(uninitialised):
    model, net = torchvision_nets.build("wide_resnet50_4", 5), torchvision_nets.build("resnet50", 5)
    assert len(model.blocks) == UNITS["wide_resnet50_4"]
    for wide, plain in zip(model.blocks[1:], net.blocks[1:], strict=True):
        assert wide.conv2.out_channels == 4 * plain.conv2.out_channels
        assert wide.conv3.out_channels == plain.conv3.out_channels
        assert wide.stride == plain.stride


@pytest.mark.parametrize(("units", "stages"), [(3, ["layer4"]), (9, ["layer3", "layer4"])])
def test_the_last_blocks_of_resnet50_are_its_last_stages(units, stages):
    with torch.device("meta"):
        net = torchvision.models.resnet50()
    blocks, _, head = torchvision_nets.CHAINS["resnet50"](net)
    last = {id(p) for block in blocks[-units:] for p in block.parameters()}
    assert last == {id(p) for stage in stages for p in getattr(net, stage).parameters()}
    assert head is net.fc


def test_pixels_are_normalised_as_torchvisions_weights_expect():
    for name in set(torchvision_nets.CHAINS) - {"wide_resnet50_4"}:
        weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        preset = weights.transforms()
        assert (tuple(preset.mean), tuple(preset.std)) == (
            torchvision_nets.MEAN,
            torchvision_nets.STD,
        )
