from importlib import metadata

import pytest
import timm
import torch

from lib.zoo import names
from lib.zoo.models import build


def test_the_seed_decides_the_weights():
    before = torch.random.get_rng_state()
    one, same, other = (build("small_resnet", 3, seed=s, width=4) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not any(torch.equal(a, c) for a, _, c in pairs if a.ndim > 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("resnet", 3),
            "arch is 'resnet'; known are small_resnet, resnet18, torchvision: .*resnet50",
        ),
        (("torchvision:vit", 3), "arch is 'torchvision:vit'; known are small_resnet"),
        (("keras:resnet50", 3), "arch is 'keras:resnet50'; known are .*, and timm: before names"),
        (("small_resnet", 1), "num_classes is 1; a classifier needs at least 2"),
    ],
)
def test_errors(arguments, said):
    with pytest.raises(ValueError, match=said):
        build(*arguments)


def test_names_mean_one_library_each():
    assert names.locate("resnet18") == ("small", "resnet18")
    assert names.locate("torchvision:resnet18") == ("torchvision", "resnet18")
    assert names.locate("resnet50") == names.locate("torchvision:resnet50")
    assert names.locate("timm:resnet18") == ("timm", "resnet18")
    assert names.locate("resnet26") == ("timm", "resnet26")
    stems = [build(arch, 2).blocks[0][0] for arch in ("resnet18", "torchvision:resnet18")]
    assert [(s.kernel_size, s.stride) for s in stems] == [((3, 3), (1, 1)), ((7, 7), (2, 2))]


def test_the_library_that_decides_the_weights_is_named():
    assert names.versions("resnet18") == []
    assert names.versions("resnet50") == [f"torchvision {metadata.version('torchvision')}"]
    assert names.versions("timm:resnet50") == [f"timm {timm.__version__}"]


@pytest.mark.parametrize(
    ("arch", "given", "said"),
    [
        ("torchvision:resnet18", {"width": 4}, "width is 4, but torchvision:resnet18 has its own"),
        ("small_resnet", {"depth": 4}, "small_resnet has no setting depth"),
        ("torchvision:resnet18", {"depth": 4}, "torchvision:resnet18 has no setting depth"),
    ],
)
def test_what_an_architecture_does_not_have(arch, given, said):
    with pytest.raises(ValueError, match=said):
        build(arch, 3, **given)
