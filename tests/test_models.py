from importlib import metadata

import pytest
import timm
import torch

from lib import models
from lib.models import build, choose_device


def test_a_chain_of_blocks_and_a_head():
    model = build("small_resnet", 7, width=4).eval()
    x = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = (x - 0.5) / 0.25
        for block in model.blocks:
            out = block(out)
        features = out.mean((2, 3))
        torch.testing.assert_close(model.features(x), features)
        logits = features @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(x), logits)
    assert logits.shape == (5, 7) and model.head.in_features == features.shape[1] == 16


@pytest.mark.parametrize(
    ("arch", "blocks", "width"), [("small_resnet", 5, 16), ("resnet18", 9, 64)]
)
def test_architectures(arch, blocks, width):
    model = build(arch, 10)
    assert len(model.blocks) == blocks
    assert model.blocks[0][0].out_channels == width and model.training
    parameters = sum(p.numel() for p in model.parameters())
    # Counted by hand; 11.17 M is what a ResNet-18 with a 3 × 3 stem has everywhere.
    assert parameters == {"small_resnet": 165_914, "resnet18": 11_173_962}[arch]


@pytest.mark.parametrize("size", [8, 32, 33, 64])
def test_any_size_of_image(size):
    model = build("small_resnet", 3, width=2).eval()
    assert model(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_a_residual_block_by_hand():
    block = models.Residual(4, 6, stride=2).eval()
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        out = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp_min(0)))
        torch.testing.assert_close(block(x), (out + block.shortcut(x)).clamp_min(0))
        assert block(x).shape == (2, 6, 4, 4)
    assert len(models.Residual(4, 4).shortcut) == 0


def test_the_seed_decides_the_weights():
    before = torch.random.get_rng_state()
    one, same, other = (build("small_resnet", 3, seed=s, width=4) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not any(torch.equal(a, c) for a, _, c in pairs if a.ndim > 1)


def test_a_frozen_block_stays_in_eval_mode():
    model = build("small_resnet", 3, width=2)
    model.blocks[0].requires_grad_(False)
    model.train()
    assert not any(m.training for m in model.blocks[0].modules())
    assert all(m.training for m in model.blocks[1].modules()) and model.head.training
    model.eval()
    assert not any(m.training for m in model.modules())


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
    assert models.locate("resnet18") == ("small", "resnet18")
    assert models.locate("torchvision:resnet18") == ("torchvision", "resnet18")
    assert models.locate("resnet50") == models.locate("torchvision:resnet50")
    assert models.locate("timm:resnet18") == ("timm", "resnet18")
    assert models.locate("resnet26") == ("timm", "resnet26")
    stems = [build(arch, 2).blocks[0][0] for arch in ("resnet18", "torchvision:resnet18")]
    assert [(s.kernel_size, s.stride) for s in stems] == [((3, 3), (1, 1)), ((7, 7), (2, 2))]


def test_the_library_that_decides_the_weights_is_named():
    assert models.versions("resnet18") == []
    assert models.versions("resnet50") == [f"torchvision {metadata.version('torchvision')}"]
    assert models.versions("timm:resnet50") == [f"timm {timm.__version__}"]


@pytest.mark.parametrize(
    ("arch", "given", "said"),
    [
        ("torchvision:resnet18", {"width": 4}, "width is 4, but torchvision:resnet18 has its own"),
        ("small_resnet", {"depth": 4}, "small_resnet has no setting depth"),
        ("torchvision:resnet18", {"depth": 4}, "torchvision:resnet18 has no setting depth"),
        ("small_resnet", {"pretrained": True}, "small_resnet has no pretrained weights; train a"),
        ("wide_resnet50_4", {"pretrained": True}, "wide_resnet50_4 has no weights in torchvision"),
    ],
)
def test_what_an_architecture_does_not_have(arch, given, said):
    with pytest.raises(ValueError, match=said):
        build(arch, 3, **given)


def test_pretrained_weights_that_cannot_be_had(monkeypatch):
    def fetch(*args, **given):
        raise OSError("no network\nat all")

    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/not/there")
    monkeypatch.setattr("os.makedirs", lambda *args, **given: None)
    with pytest.raises(ValueError, match=r"weights of resnet18 cannot be had \(no network\); with"):
        build("torchvision:resnet18", 3, pretrained=True)


def test_a_width_of_none_is_refused():
    with pytest.raises(ValueError, match="width is 0; allowed are 1 and more"):
        build("small_resnet", 3, width=0)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device is 'cuda', but no CUDA device is available"):
        choose_device("cuda")
    with pytest.raises(ValueError, match="device is 'gpu'; allowed are auto, cpu, cuda"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == choose_device("cuda:0").type == "cuda"
    assert choose_device("cpu").type == "cpu"
