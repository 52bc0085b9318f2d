"""One network of each of timm's families: exact however it is cut, or refused in one line."""

import copy

import pytest
import timm
import torch
from two_steps import take_steps

from lib import freezing
from lib.zoo.models import build

QUICK = [
    "test_vit",
    "test_convnext",
    "test_mambaout",
    "test_nfnet",
    "test_byobnet",
    "visformer_tiny",
]
REFUSED = {
    "crossvit_tiny_240": "does not end in one linear layer",
    "dla60x_c": "does not end in one linear layer",
    "dpn48b": "does not end in one linear layer",
    "efficientformer_l1": "does not end in one linear layer",
    "efficientformerv2_s0": "does not end in one linear layer",
    "efficientvim_m1": "does not end in one linear layer",
    "levit_128": "does not end in one linear layer",
    "repvit_m1": "does not end in one linear layer",
    "resnetv2_18": "does not end in one linear layer",
    "swiftformer_xs": "does not end in one linear layer",
    "volo_d1_224": "does not end in one linear layer",
    "caformer_s18": "does not say what the blocks of caformer_s18 are",
    "csatv2": "does not say what the blocks of csatv2 are",
    "pit_ti_224": "does not say what the blocks of pit_ti_224 are",
    "poolformer_s12": "does not say what the blocks of poolformer_s12 are",
}
ACCEPTED = [
    "beit_base_patch16_224", "cait_xxs24_224", "coat_tiny", "convit_tiny", "convmixer_768_32",
    "convnext_atto_rms", "cpubone_nano", "cs3darknet_focus_s", "cspnext_tiny", "davit_tiny",
    "deit_tiny_patch16_224", "densenet121", "edgenext_xx_small", "efficientvit_b0",
    "efficientvit_m0", "ese_vovnet19b_slim_dw", "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf",
    "gcvit_xxtiny", "ghostnet_050", "gmlp_ti16_224", "halonet26t", "hardcorenas_b", "hgnetv2_b0",
    "hiera_tiny_224", "hrnet_w18_small", "iformer_t", "inception_next_atto", "inception_v3",
    "inception_v4", "lcnetv2_small", "legacy_seresnet18", "legacy_xception", "lowformer_b0",
    "maxvit_pico_rw_256", "mobilenetv3_small_050", "mobilevit_xxs", "mvitv2_tiny", "nest_tiny",
    "nextvit_small", "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "repghostnet_050", "res2next50",
    "resnest14d", "rexnet_100", "sam2_hiera_tiny", "selecsls42", "sequencer2d_s", "shvit_s1",
    "skresnet18", "starnet_s050", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224",
    "swinv2_tiny_window16_256", "test_efficientnet", "test_resnet", "test_vit_relpos",
    "tiny_vit_5m_224", "tnt_s_legacy_patch16_224", "tresnet_m", "twins_svt_small", "vgg11",
    "vitamin_small_224", "vit_tiny_patch16_dinov3_qkvb", "vit_tiny_r_s16_p8_224", "xception41p",
    "xcit_nano_12_p8_224",
]  # fmt: skip


@pytest.fixture
def network(request):
    """A network with weights and statistics of no symmetry; images of it, and labels."""
    model = build(f"timm:{request.param}", 5, image_size=64 if request.param in QUICK else 0)
    size = model.image_size or (96 if "inception" in request.param else 64)
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.train()(x)
        for number, parameter in enumerate(model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.add_(0.02 * noise)
    return model.eval(), x, torch.tensor([1, 3])


def close(one, other, tolerance):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


def check_cuts(model, x):
    with torch.no_grad():
        expected = model(x)
        for unfrozen_blocks in range(-1, len(model.blocks) + 1):
            trunk, tail = freezing.split(model, unfrozen_blocks)
            close(tail(trunk(x)), expected, 1e-5)


def check_steps(model, x, y, unfrozen_blocks):
    """Two steps of the tail alone are two of the frozen network, and can be joined to it."""
    whole = freezing.freeze(copy.deepcopy(model), unfrozen_blocks).train()
    frozen = [block.state_dict() for block in whole.blocks[: len(whole.blocks) - unfrozen_blocks]]
    frozen = copy.deepcopy(frozen)
    trunk, above = freezing.split(model.train(), unfrozen_blocks)
    with torch.no_grad():
        below = trunk(x)
    tail = copy.deepcopy(above).train()
    take_steps(whole, x, y, lr=0.01)
    take_steps(tail, below, y, lr=0.01)
    with torch.no_grad():
        close(tail(below), whole(x), 1e-3)
        close(freezing.join(model, unfrozen_blocks, tail)(x), tail(below), 1e-5)
    for block, before in zip(whole.blocks, frozen, strict=False):
        assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


@pytest.mark.parametrize("network", QUICK, indirect=True)
def test_some_families_are_exact(network):
    model, x, y = network
    check_cuts(model, x)
    check_steps(model, x, y, 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("network", ACCEPTED, indirect=True)
def test_all_others_that_are_accepted_are_exact(network):
    model, x, y = network
    check_cuts(model, x)
    for unfrozen_blocks in (0, 1, 2):
        check_steps(copy.deepcopy(model), x, y, unfrozen_blocks)


@pytest.mark.parametrize("name", ["pit_ti_224", "poolformer_s12", "caformer_s18", "dla60x_c"])
def test_some_are_refused(name):
    with pytest.raises(ValueError, match=f"{REFUSED[name]}.*; choose another network$"):
        build(f"timm:{name}", 5)


@pytest.mark.long
def test_the_rest_is_refused_and_no_family_is_forgotten():
    for name, said in REFUSED.items():
        with pytest.raises(ValueError, match=f"{said}.*; choose another network$"):
            build(f"timm:{name}", 5)

    def family(name):
        return timm.models._registry._model_to_module[name]

    large = {"nasnet", "pnasnet", "inception_resnet_v2", "vision_transformer_sam", "naflexvit"}
    large |= {"mobilenetv5", "qwen3_vit", "gemma4_vit", "deepseek_vit"}  # too large to try
    tried = {family(name) for name in (*ACCEPTED, *REFUSED, *QUICK) if timm.is_model(name)}
    assert {family(name) for name in timm.list_models()} - tried - large == set()
