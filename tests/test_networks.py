import copy

import pytest
import torch

from lib.networks import Normalise, Residual, choose_device, small_network

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]


def test_normalisation_by_hand():
    x = torch.rand(2, 3, 4, 5)
    out = Normalise(MEAN, STD)(x)
    for c in range(3):
        torch.testing.assert_close(out[:, c], (x[:, c] - MEAN[c]) / STD[c])
    torch.testing.assert_close(Normalise(0.5, 0.25)(x), (x - 0.5) / 0.25)


def test_it_is_not_among_the_weights_but_goes_with_the_network():
    module = Normalise(0.5, 0.25)
    assert not module.state_dict() and not list(module.parameters())
    module.set(torch.tensor(MEAN)[:, None, None], STD)
    x = torch.rand(1, 3, 2, 2)
    assert torch.equal(copy.deepcopy(module)(x), Normalise(MEAN, STD)(x))
    assert module.to(torch.float64).mean.dtype == torch.float64


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (2.0, 1.0),
        (-0.1, 1.0),
        (0.5, 0.0),
        (0.5, -1.0),
        (float("nan"), 1.0),
        (MEAN, [1, 1, float("inf")]),
        ([0, 0], [1, 1]),
    ],
)
def test_numbers_that_cannot_normalise_are_refused(mean, std):
    module = Normalise(0.5, 0.25)
    with pytest.raises(ValueError, match="allowed are 1 or 3 numbers of"):
        module.set(mean, std)
    assert float(module.mean) == 0.5 and float(module.std) == 0.25


def test_a_chain_of_blocks_and_a_head():
    model = small_network("small_resnet", 7, 4).eval()
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
    model = small_network(arch, 10)
    assert len(model.blocks) == blocks
    assert model.blocks[0][0].out_channels == width and model.training
    parameters = sum(p.numel() for p in model.parameters())
    # Counted by hand; 11.17 M is what a ResNet-18 with a 3 × 3 stem has everywhere.
    assert parameters == {"small_resnet": 165_914, "resnet18": 11_173_962}[arch]


@pytest.mark.parametrize("size", [8, 32, 33, 64])
def test_any_size_of_image(size):
    model = small_network("small_resnet", 3, 2).eval()
    assert model(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_a_residual_block_by_hand():
    block = Residual(4, 6, stride=2).eval()
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        out = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp_min(0)))
        torch.testing.assert_close(block(x), (out + block.shortcut(x)).clamp_min(0))
        assert block(x).shape == (2, 6, 4, 4)
    assert len(Residual(4, 4).shortcut) == 0


def test_a_frozen_block_stays_in_eval_mode():
    model = small_network("small_resnet", 3, 2)
    model.blocks[0].requires_grad_(False)
    model.train()
    assert not any(m.training for m in model.blocks[0].modules())
    assert all(m.training for m in model.blocks[1].modules()) and model.head.training
    model.eval()
    assert not any(m.training for m in model.modules())


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match="width is 0; allowed are 1 and more"):
        small_network("small_resnet", 3, 0)


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
