import json
import multiprocessing
import shutil
import time
import warnings

import pytest
import safetensors.torch
import torch

from lib import microcosm, robustness, training
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.images import Images
from lib.studies import pretrained
from lib.zoo import models

TINY = {"epochs": 1, "width": 2, "device": "cpu"}
L2 = Constraint("l2", 0.1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache" / "sources")
    return pretrained.CACHE


@pytest.fixture(scope="module")
def sets():
    return microcosm.draw(80, 0), microcosm.draw(40, 1)


@pytest.fixture
def trained(monkeypatch):
    """How often a source was trained."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return training.fit(*args, **kwargs)

    monkeypatch.setattr(pretrained, "fit", counted)
    return calls


def source(sets, **arguments):
    return pretrained.source(*sets, **{**TINY, **arguments})


def files(cache, suffix):
    return sorted(cache.glob(f"*{suffix}"))


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(one, two):
    return list(one) == list(two) and all(torch.equal(one[k], two[k]) for k in one)


def test_a_source_is_trained_once(sets, cache, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, record = source(sets)

        def forbidden(*args, **kwargs):
            raise AssertionError("trained a second time")

        monkeypatch.setattr(pretrained, "fit", forbidden)
        again, record_again = source(sets)
    assert same(weights(model), weights(again)) and record == record_again
    assert not any(m.training for m in [*model.modules(), *again.modules()])
    assert len(files(cache, ".safetensors")) == len(files(cache, ".json")) == 1
    assert files(cache, ".partial") == []
    # The memory format too: it makes convolutions faster.
    assert again.blocks[1].conv1.weight.stride() == model.blocks[1].conv1.weight.stride()


@pytest.mark.parametrize(
    "constraint", [NATURAL, L2, Constraint("linf", 0.02), Constraint("noise", 0.1)], ids=str
)
def test_a_source_is_what_its_parameters_say(sets, constraint):
    settings = {"attack_steps": 2, "seed": 3, "lr": 0.1, "batch_size": 20}
    model, record = source(sets, constraint=constraint, **settings)
    twin = models.build("small_resnet", 10, seed=3, width=2)
    shown = constraint.ball or constraint.kind
    (row,) = training.fit(twin, sets[0], epochs=1, ball=shown, **settings)
    assert same(weights(model), weights(twin))
    assert record["train_accuracy"] == row["accuracy"] and record["seconds"] > 0
    assert record["test_accuracy"] == robustness.accuracy(twin, sets[1])
    assert record["parameters"] == {
        "constraint": constraint.name, "amount": constraint.amount, "epochs": 1, "width": 2,
        "arch": "small_resnet", "label_smoothing": 0.0, "augment": "none",
        "flips": False, "bfloat16": False, **settings,
    }  # fmt: skip


def test_the_files_can_be_read_by_others(sets, cache):
    model, record = source(sets)
    (stored,), (written,) = files(cache, ".safetensors"), files(cache, ".json")
    tensors = safetensors.torch.load_file(stored)
    assert all(torch.equal(tensors[k], v) for k, v in model.state_dict().items())
    assert json.loads(written.read_text()) == record
    assert record["machine"][2] == torch.__version__ and len(record["images"]) == 2


def changed_pixel(sets):
    x = sets[0].x.clone()
    x[7, 1, 3, 3] ^= 1
    return Images(x, sets[0].y, sets[0].classes), sets[1]


def changed_label(sets):
    y = sets[0].y.clone()
    y[7] = (y[7] + 1) % 10
    return Images(sets[0].x, y, sets[0].classes), sets[1]


def changed_class(sets):
    return Images(sets[0].x, sets[0].y, (*sets[0].classes[:9], "dart")), sets[1]


def fewer(sets):
    return sets[0][:-1], sets[1]


def other_order(sets):
    order = torch.arange(80).roll(1)
    return sets[0][order], sets[1]


def other_test_images(sets):
    return sets[0], sets[1][1:]


def test_whatever_determines_a_source_gives_it_a_file_of_its_own(sets, cache, monkeypatch):
    source(sets, constraint=L2)
    others = [
        {"constraint": Constraint("linf", 0.1)}, {"constraint": Constraint("l2", 0.11)},
        {"seed": 1}, {"epochs": 2}, {"attack_steps": 2}, {"width": 3}, {"lr": 0.21},
        {"batch_size": 63}, {"constraint": NATURAL}, {"constraint": Constraint("noise", 0.1)},
        {"label_smoothing": 0.1}, {"augment": "crops"}, {"flips": True}, {"bfloat16": True},
    ]  # fmt: skip

    def another(asked, reason):
        before = len(files(cache, ".safetensors"))
        source(asked, **{"constraint": L2, **(reason if isinstance(reason, dict) else {})})
        assert len(files(cache, ".safetensors")) == before + 1, reason

    for other in others:
        another(sets, other)
    changes = [changed_pixel, changed_label, changed_class, fewer, other_order, other_test_images]
    for change in changes:
        another(change(sets), change)
    monkeypatch.setattr(pretrained.fingerprint, "code", lambda *modules: "edited")
    another(sets, "other code")
    monkeypatch.setattr(torch, "__version__", "1.0")
    another(sets, "another version of torch")


def test_images_are_digested_once_to_look_for_a_source(sets, monkeypatch):
    digested, real = [], pretrained.digest
    monkeypatch.setattr(pretrained, "digest", lambda s: digested.append(len(s)) or real(s))
    train, test = sets
    call = {"train": train, "test": test, "constraint": L2, "seed": 0, **TINY}
    assert pretrained.cached(call) is None
    assert digested == [80, 40]


def test_the_code_that_counts_is_that_which_trains(sets, monkeypatch):
    asked = []
    real = pretrained.fingerprint.code
    monkeypatch.setattr(pretrained.fingerprint, "code", lambda *m: asked.append(m) or real(*m))
    source(sets)
    source(sets, arch="torchvision:mobilenet_v2", width=None, epochs=0)
    source(sets, constraint=Constraint("noise", 0.1), epochs=0)
    assert asked == [
        ("training", "zoo.models"),
        ("training", "zoo.models", "zoo.torchvision_nets"),
        ("training", "zoo.models", "kinds"),
    ]


def test_an_edit_of_what_determines_no_weight_trains_nothing_anew(tmp_path):
    small, large = (
        pretrained._modules(arch, L2) for arch in ("small_resnet", "torchvision:vgg16_bn")
    )

    def code(modules):
        return pretrained.fingerprint.code(*modules, folder=tmp_path / "lib")

    for name, trained_anew in (
        ("attacks", [small, large]), ("zoo/torchvision_nets", [large]), ("zoo/timm_nets", []),
        ("runtime/parallel", []), ("studies/pretrained", []), ("microcosm", []), ("kinds", []),
    ):  # fmt: skip
        shutil.copytree(pretrained.fingerprint.HERE, tmp_path / "lib")
        before = code(small), code(large)
        with (tmp_path / "lib" / f"{name}.py").open("a") as file:
            file.write("\nEDITED = True\n")
        changed = [m for m, was in zip((small, large), before, strict=True) if code(m) != was]
        assert changed == trained_anew, name
        shutil.rmtree(tmp_path / "lib")


# What must not be trusted.


def damaged(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path):
    path.write_bytes(b"")


def foreign_shape(path):
    other = models.build("small_resnet", 10, seed=0, width=3)
    path.write_bytes(
        safetensors.torch.save({k: v.contiguous() for k, v in other.state_dict().items()})
    )


def foreign_weights(path):
    other = models.build("small_resnet", 10, seed=9, width=2)
    path.write_bytes(
        safetensors.torch.save({k: v.contiguous() for k, v in other.state_dict().items()})
    )


def no_record(path):
    path.with_suffix(".json").unlink()


def edit(path, change):
    record = json.loads(path.with_suffix(".json").read_text())
    change(record)
    path.with_suffix(".json").write_text(json.dumps(record))


def other_seed_recorded(path):
    edit(path, lambda record: record["parameters"].update(seed=1))


def other_code_recorded(path):
    edit(path, lambda record: record.update(code="edited"))


def no_checksum(path):
    edit(path, lambda record: record.pop("sha256"))


def no_parameters(path):
    edit(path, lambda record: record.pop("parameters"))


def record_of_another_kind(path):
    path.with_suffix(".json").write_text("[1, 2]")


def record_that_is_no_json(path):
    path.with_suffix(".json").write_text("{")


def record_that_is_no_text(path):
    path.with_suffix(".json").write_bytes(b"\xff\xfe\x00")


def nicer_accuracy_recorded(path):
    edit(path, lambda record: record.update(test_accuracy=0.99))


def resign(path):
    edit(path, lambda r: r.update(sha256=pretrained._checksum(r, path.read_bytes())))


def foreign_shape_with_its_checksum(path):
    foreign_shape(path)
    resign(path)


def no_weights_with_their_checksum(path):
    path.write_bytes(b"no weights")
    resign(path)


@pytest.mark.parametrize(
    "harm",
    [
        damaged, truncated, emptied, foreign_shape, foreign_weights, no_record,
        other_seed_recorded, other_code_recorded, no_checksum, no_parameters,
        record_of_another_kind, record_that_is_no_json, record_that_is_no_text,
        nicer_accuracy_recorded, foreign_shape_with_its_checksum, no_weights_with_their_checksum,
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_trusted_is_named_and_trained_anew(sets, cache, trained, harm):
    model, record = source(sets)
    (path,) = files(cache, ".safetensors")
    whole = path.read_bytes()
    harm(path)
    with pytest.warns(UserWarning, match=f"{path.name} is not used but trained anew: .+") as said:
        again, new = source(sets)
    assert len(said) == 1 and "\n" not in str(said[0].message)[:200]
    assert len(trained) == 2 and same(weights(model), weights(again))
    assert path.read_bytes() == whole
    timeless = [{k: v for k, v in r.items() if k != "seconds"} for r in (record, new)]
    timeless = [{k: v for k, v in r.items() if "sha256" not in k} for r in timeless]
    assert timeless[0] == timeless[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source(sets)
    assert len(trained) == 2


def test_the_weights_of_another_source_are_not_taken_for_its_own(sets, cache, trained):
    one = weights(source(sets)[0])
    (first,) = files(cache, ".safetensors")
    source(sets, seed=1)
    (second,) = set(files(cache, ".safetensors")) - {first}
    content, record = second.read_bytes(), second.with_suffix(".json").read_bytes()
    first.write_bytes(content)
    with pytest.warns(UserWarning, match=first.name):
        assert same(weights(source(sets)[0]), one)
    first.write_bytes(content)
    first.with_suffix(".json").write_bytes(record)
    with pytest.warns(UserWarning, match="it records other parameters than its name says"):
        assert same(weights(source(sets)[0]), one)
    assert len(trained) == 4


@pytest.mark.parametrize("files_in_place", [0, 1])
@pytest.mark.parametrize("written", [0, 100, None])
def test_killed_while_writing(sets, cache, trained, monkeypatch, files_in_place, written):
    # The process ends in the middle of a file, or before it is put in its place.
    real, done = pretrained.files.replace, []

    def dying(path, content):
        if len(done) < files_in_place:
            done.append(path)
            return real(path, content)
        path.with_name(f"{path.name}.1.partial").write_bytes(content[:written])
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrained.files, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        source(sets)
    monkeypatch.setattr(pretrained.files, "replace", real)
    model, record = source(sets)
    assert len(trained) == 2 and files(cache, ".safetensors")
    _, again = source(sets)
    assert len(trained) == 2 and again == record
    twin = models.build("small_resnet", 10, seed=0, width=2)
    training.fit(twin, sets[0], epochs=1)
    assert same(weights(model), weights(twin))


def compete(folder, start, answers):
    """Want a source at the same time as others (in a process of its own)."""
    torch.set_num_threads(1)
    pretrained.CACHE = folder / "cache" / "sources"

    def slow(*args, **kwargs):
        with (folder / "trained").open("a") as log:
            log.write("x")
        time.sleep(1)
        return training.fit(*args, **kwargs)

    pretrained.fit = slow
    sets = microcosm.draw(80, 0), microcosm.draw(40, 1)
    start.wait(60)
    model, record = source(sets)
    answers.put((record["sha256"], float(sum(p.double().sum() for p in model.parameters()))))


def test_two_processes_at_once_train_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.Queue()
    both = [context.Process(target=compete, args=(tmp_path, start, answers)) for _ in range(2)]
    for process in both:
        process.start()
    found = [answers.get(timeout=90) for _ in both]
    for process in both:
        process.join(30)
    assert found[0] == found[1]
    assert (tmp_path / "trained").read_text() == "x"


def test_the_callers_threads_do_not_count(sets, cache, monkeypatch):
    threads, found = torch.get_num_threads(), []
    settings = {"width": 16, "constraint": Constraint("l2", 0.2), "attack_steps": 1}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            monkeypatch.setattr(pretrained, "CACHE", cache / str(count))
            found.append(weights(source(sets, **settings)[0]))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert same(*found)


def test_the_callers_threads_do_not_count_for_the_untrained_control(sets):
    # Seventeen images a class at a width where sums are shared out among threads.
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(weights(pretrained.untrained(sets[0], width=16, device="cpu")))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert same(found[0], found[1]) and same(found[0], found[2])


def test_an_untrained_control_is_measured_on_no_batch_of_one_image():
    # At 32 pixels a ResNet-18 ends in one value a channel, which BatchNorm cannot average over.
    images = microcosm.draw(training.BATCH + 1, 0)
    control = pretrained.untrained(images, arch="torchvision:resnet18", device="cpu")
    assert all(v.isfinite().all() for v in control.state_dict().values())


def test_whole_numbers_are_numbers(sets, cache):
    source(sets, constraint=Constraint("l2", 1))
    source(sets, constraint=Constraint("l2", 1.0))
    assert len(files(cache, ".safetensors")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"constraint": Constraint("l1")}, "constraint is l1; allowed are natural, l2 EPS"),
        ({"augment": "colours"}, "augment is 'colours'"),
        ({"constraint": UNTRAINED}, "constraint is untrained; allowed are natural, l2 EPS"),
        ({"arch": "vgg"}, "arch is 'vgg'"),
        ({"epochs": -1}, "epochs is -1"),
    ],
)
def test_errors_leave_nothing_behind(sets, cache, arguments, said):
    with pytest.raises(ValueError, match=said):
        source(sets, **arguments)
    assert not files(cache, ".safetensors") and not files(cache, ".json")


def test_the_untrained_control_has_the_weights_it_was_built_with_and_features_of_usual_size(sets):
    train, _ = sets
    control = pretrained.untrained(train, seed=3, width=4, device="cpu")
    built = models.build("small_resnet", len(train.classes), seed=3, width=4)
    assert all(map(torch.equal, control.parameters(), built.parameters()))
    assert not any(module.training for module in control.modules())
    # Its BatchNorm statistics are those of the images: normalised, they have mean 0, variance 1.
    with torch.no_grad():
        x = control.normalise(training.pixels(train.x))
        stem = control.blocks[0][:2](x)
    torch.testing.assert_close(stem.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=0.05)
    torch.testing.assert_close(stem.var((0, 2, 3)), torch.ones(4), rtol=0.05, atol=0.05)
