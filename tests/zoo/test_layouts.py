"""Checkpoints of many training scripts, whole and spoilt, into a network that we can compare."""

import copy
import functools
import random

import layouts
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.networks import small_network
from lib.zoo import weights

CLASSES = 5


@functools.cache
def network(seed):
    torch.manual_seed(seed)
    model = small_network("small_resnet", CLASSES, 2)
    for buffer in model.buffers():
        if buffer.is_floating_point() and buffer.ndim == 1:
            buffer.uniform_(0.5, 1.5)
    return model


def state(seed):
    return dict(network(seed).state_dict())


def loaded(path):
    """A third network, of another number of classes, with the weights of a file."""
    model = small_network("small_resnet", 3, 2)
    return weights.load_into(model, path, any_classes=True)


def same(model, seed):
    ours, theirs = model.state_dict(), state(seed)
    return all(torch.equal(ours[name], value) for name, value in theirs.items())


def refused(path, model=None):
    """Loading ends in one line that names the file, and changes nothing."""
    model = model or small_network("small_resnet", 3, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError) as caught:
        weights.load_into(model, path, any_classes=True)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 800 and str(path).split("#")[0] in said, said
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return said


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
@pytest.mark.parametrize("save", layouts.FORMATS)
def test_every_layout(layout, save, tmp_path):
    content, entry, average = layout(state(1), state(2))
    path = tmp_path / "x"
    save(content, path)
    if average is None:
        model = loaded(path)
        assert same(model, 1) and model.head.out_features == CLASSES
        if layout.__name__.startswith("robust"):
            torch.testing.assert_close(model.normalise.mean, layouts.MEAN)
            torch.testing.assert_close(model.normalise.std, layouts.STD)
    else:
        said = refused(path)
        assert f"PATH#{entry}" in said and f"PATH#{average}" in said
        assert same(loaded(f"{path}#{average}"), 2)
    if entry is not None:
        assert same(loaded(f"{path}#{entry}"), 1)


def test_an_average_that_is_the_same_is_no_choice(tmp_path):
    for layout in (layouts.torchvision, layouts.timm, layouts.student):
        torch.save(layout(state(1), state(1))[0], tmp_path / "x")
        assert same(loaded(tmp_path / "x"), 1)


@pytest.mark.parametrize("layout", [layouts.torchvision, layouts.timm, layouts.basicsr])
def test_read_asks_too(layout, tmp_path):
    content, entry, average = layout(state(1), state(2))
    torch.save(content, tmp_path / "x")
    with pytest.raises(ValueError, match=f"PATH#{entry}, PATH#{average}"):
        weights.read(tmp_path / "x")
    for name, seed in ((entry, 1), (average, 2)):
        found = weights.read(f"{tmp_path / 'x'}#{name}")
        assert all(torch.equal(found[key], value) for key, value in state(seed).items())
    with pytest.raises(ValueError, match=f"x has no entry 'best'; it has {entry}"):
        weights.read(f"{tmp_path / 'x'}#best")


def test_the_line_that_asks_is_short_whatever_entries_are_called(tmp_path):
    entries = {"model": state(1)} | {f"{'very_' * k}long": state(2) for k in (20, 40, 50)}
    torch.save(entries, tmp_path / "x")
    said = refused(tmp_path / "x")
    assert said.endswith("name one of them: PATH#model and 3 more"), said
    torch.save({name: value for name, value in entries.items() if "long" in name}, tmp_path / "x")
    assert same(loaded(tmp_path / "x"), 2)


def test_a_path_may_have_the_sign_of_an_entry(tmp_path):
    path = tmp_path / "run #3" / "x#1.pt"
    path.parent.mkdir()
    torch.save({"a": state(1), "b": state(2)}, path)
    assert same(loaded(f"{path}#b"), 2)
    torch.save(state(1), path)
    assert same(loaded(path), 1)


def test_what_stands_beside_a_network_is_not_left_out(tmp_path):
    path, own = tmp_path / "x", state(1)
    torch.save(layouts.before("backbone.", own) | {"projector.weight": torch.rand(4, 5)}, path)
    assert "has projector.weight beside the network; if it is no part" in refused(path)
    assert same(loaded(f"{path}#backbone"), 1)
    trunk = layouts.before("backbone.", {n: v for n, v in own.items() if n[:5] != "head."})
    head = {"weight": own["head.weight"], "bias": own["head.bias"]}
    torch.save(trunk | layouts.before("classifier.", head), path)
    assert same(loaded(path), 1)
    norm = {"norm.weight": torch.rand(5), "norm.bias": torch.rand(5)}
    torch.save(trunk | layouts.before("classifier.", head) | norm, path)
    assert "lacks head.weight" in refused(path)  # something may come between the two
    torch.save(trunk, path)
    assert "lacks head.weight" in refused(path)


def changed(name, value):
    return {**state(1), name: value}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["blocks.2.conv1.weight", "blocks.0.1.running_var", "head.bias"])
@pytest.mark.parametrize("save", [layouts.save, layouts.save_safetensors])
def test_numbers_that_are_not_finite_are_refused_by_name(number, name, save, tmp_path):
    value = state(1)[name].clone()
    value.view(-1)[0] = number
    save({"state_dict": changed(name, value)}, tmp_path / "x")
    for function in (weights.read, loaded):
        with pytest.raises(ValueError, match=f"x holds NaN or infinity in .*{name}; its training"):
            function(tmp_path / "x")


def test_numbers_too_large_for_the_network_are_refused(tmp_path):
    torch.save(changed("head.bias", torch.full((5,), 1e300, dtype=torch.float64)), tmp_path / "x")
    assert "holds NaN or infinity in head.bias" in refused(tmp_path / "x")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_single_ones_and_counters_whole(dtype, tmp_path):
    cast = {name: value.to(dtype) for name, value in state(1).items()}  # counters, too
    cast["blocks.1.bn1.num_batches_tracked"] = torch.tensor(float("inf"), dtype=dtype)
    torch.save(cast, tmp_path / "x")
    model = loaded(tmp_path / "x")
    for name, value in model.state_dict().items():
        if name.endswith("tracked"):
            assert value.dtype == torch.int64 and value == 0
        else:
            assert value.dtype == torch.float32 and torch.equal(value, cast[name].float())
    counted = changed("blocks.1.bn1.num_batches_tracked", torch.tensor([12.0]))
    torch.save(counted, tmp_path / "y")
    assert loaded(tmp_path / "y").blocks[1].bn1.num_batches_tracked == 12


def test_a_head_is_as_large_as_the_file_says_and_not_larger(tmp_path):
    path = tmp_path / "x.safetensors"
    shapes = {"head.weight": (30_000_000, 0), "head.bias": (0,)}
    empty = {name: torch.empty(shape) for name, shape in shapes.items()}
    layouts.save_safetensors(changed("head.weight", empty["head.weight"]), path)
    assert "head.weight has shape (30000000, 0), not (3, 8)" in refused(path)
    layouts.save_safetensors(empty, path)
    assert "lacks blocks.0.0.weight" in refused(path)
    layouts.save_safetensors(changed("head.bias", torch.rand(9)), path)
    assert "has 9 classes and the network 5 (head.bias)" in refused(path)


def test_arrays_of_numpy_are_told(tmp_path):
    path = tmp_path / "x"
    for protocol in (2, 4, 5):
        torch.save({"model": layouts.as_arrays(state(1))}, path, pickle_protocol=protocol)
        assert "holds arrays of NumPy; write its arrays by torch.save({name: torch" in refused(path)
    layouts.save_pickle(layouts.as_arrays(state(1)), path)
    assert "it does not begin as a file of torch.save does; write it with torch.s" in refused(path)


def test_an_index_without_all_its_files(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    layouts.save_sharded(state(1), path)
    assert same(loaded(path), 1)
    (tmp_path / f"{path.name}-1.safetensors").unlink()
    assert f"names '{path.name}-1.safetensors', which is no file beside it" in refused(path)
    elsewhere = tmp_path / "elsewhere" / path.name
    elsewhere.parent.mkdir()
    safetensors.torch.save_file({"a": torch.rand(2)}, tmp_path / "a.safetensors")
    for place in ("../a.safetensors", str(tmp_path / "a.safetensors")):
        elsewhere.write_text(f'{{"weight_map": {{"a": "{place}"}}}}')
        assert "which is no file beside it; fetch all its files" in refused(elsewhere)
    for place in ("../x", "/etc/passwd", path.name):
        path.write_text(f'{{"weight_map": {{"a": "{place}"}}}}')
        refused(path)
    for text in ("{}", '{"a": 1}', '{"weight_map": {"a": 1}}', "{" * 10_000, '{"a":' * 10_000):
        path.write_text(text)
        refused(path)


def test_a_normaliser_of_other_pixels(tmp_path):
    means = torch.tensor([123.675, 116.28, 103.53])
    extra = {"data_preprocessor.mean": means, "data_preprocessor.std": means / 2}
    torch.save(layouts.before("backbone.", state(1)) | extra, tmp_path / "x")
    assert "normalises pixels of 0 to 255; divide" in refused(tmp_path / "x")
    torch.save(dict(state(1), mu=layouts.MEAN, sigma=-layouts.STD), tmp_path / "x")
    assert "the normaliser has mean" in refused(tmp_path / "x")
    torch.save(layouts.before("net.", state(1)) | {"mu": layouts.MEAN}, tmp_path / "x")
    assert "has only one of mean and standard deviation" in refused(tmp_path / "x")


def spoil(content, draw):
    """Do something to a checkpoint that training, copying and editing do."""
    entry = draw.choice([content, *(v for v in content.values() if isinstance(v, dict) and v)])
    name = draw.choice(list(entry))
    value = entry[name]
    other = [None, "x", 3, {}, {"a": {"b": value}}, [value], torch.rand(2, 2), entry]
    if isinstance(value, torch.Tensor):
        failed = torch.full_like(value, float("nan"), dtype=torch.float64)
        other += [failed, value.half(), value.flatten(), value[None], value.to(torch.int64)]
        other += [
            value.detach().numpy(),
            torch.nn.Parameter(value.float()),
            value.expand(2, *value.shape),
        ]
    new = draw.choice([name, "x", f"module.{name}", f"{name}.weight", f"ema.{name}"])
    if draw.random() < 0.3:
        del entry[name]
    else:
        entry[new] = draw.choice([value, *other])


def make(seed, path):
    """Write a checkpoint of some layout and format, and do things to it and to its bytes."""
    draw = random.Random(seed)
    content, _, _ = draw.choice(layouts.LAYOUTS)(state(1), state(draw.choice([1, 2])))
    content = {key: copy.copy(value) for key, value in content.items()}
    for _ in range(draw.choice([0, 1, 1, 2, 3])):
        if content:
            spoil(content, draw)
    try:
        draw.choice(layouts.FORMATS)(content, path)
    except (RecursionError, ValueError, RuntimeError):  # no such file can be written
        layouts.save(content, path)
    data = bytearray(path.read_bytes())
    whole = draw.random() < 0.5
    for _ in range(0 if whole else draw.randrange(1, 6)):
        # Most of a file are numbers; what describes them is at either end.
        place = draw.choice([draw.randrange(2000), draw.randrange(-2000, 0)])
        data[place % len(data)] = draw.randrange(256)
    if draw.random() < 0.1:
        data = data[: draw.randrange(len(data))]
    path.write_bytes(data)


def check_any_file(seed, folder):
    """A file is read, or refused in one line; what is read is finite, or changes nothing."""
    path = folder / "x"
    make(seed, path)
    model = small_network("small_resnet", 3, 2)
    before = copy.deepcopy(model.state_dict())
    for function in (weights.read, lambda p: weights.load_into(model, p, any_classes=True)):
        try:
            found = function(path)
        except ValueError as error:
            said = str(error)
            assert "\n" not in said and len(said) < 800 and said.startswith(str(path)), said
            ours = model.state_dict()
            assert all(torch.equal(value, before[name]) for name, value in ours.items())
            READ[1] += 1
        else:
            values = found.values() if isinstance(found, dict) else found.state_dict().values()
            assert all(v.isfinite().all() for v in values if v.ndim)
            READ[0] += 1


READ = [0, 0]
"""Files that were read, and refused."""
SEEDS = st.integers(0, 2**64)
LOOSE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(SEEDS)
@settings(max_examples=40, deadline=None, suppress_health_check=LOOSE, derandomize=True)
def test_some_files_of_any_kind(tmp_path, seed):
    check_any_file(seed, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many_files_of_any_kind(tmp_path):
    @given(SEEDS)
    @settings(max_examples=2500, deadline=None, suppress_health_check=LOOSE)
    def check(seed):
        check_any_file(seed, tmp_path)

    check()
    assert min(READ) > 300
