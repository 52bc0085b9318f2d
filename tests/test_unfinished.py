"""A training that is stopped and goes on ends as one that was not."""

import io
import warnings

import pytest
import torch
from torch import nn

from lib import microcosm, training
from lib.attacks import L2
from lib.augmentation import flipped
from lib.images import Images
from lib.studies import pretrained
from lib.training import fit
from lib.zoo import models


class Stopped(Exception):
    """What ends a training in these tests."""


class Kept:
    """Keeps the state in memory, as bytes, and stops the run after some epoch."""

    def __init__(self, stop_after=None):
        self.content, self.written, self.stop_after = None, 0, stop_after

    def read(self):
        return self.content and torch.load(io.BytesIO(self.content), weights_only=True)

    def write(self, state):
        content = io.BytesIO()
        torch.save(state, content)
        self.content, self.written = content.getvalue(), self.written + 1
        if self.written == self.stop_after:
            raise Stopped


class WithDropout(nn.Module):
    """A network whose training draws from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.network, self.dropout = models.build("small_resnet", 10, width=2), nn.Dropout(0.3)

    def forward(self, x):
        return self.network(self.dropout(x))


SMALL = microcosm.draw(60, 0)


def fitted(model, unfinished=None, **how):
    torch.manual_seed(3)
    history = fit(model, SMALL, **{"epochs": 3, "seed": 1, "unfinished": unfinished, **how})
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    return model.state_dict(), rows


@pytest.mark.parametrize(
    "how", [{}, {"ball": L2(0.1), "attack_steps": 1, "flips": True}, {"bfloat16": True}]
)
@pytest.mark.parametrize("build", [lambda: models.build("small_resnet", 10, width=2), WithDropout])
def test_the_weights_are_those_of_an_undisturbed_run(build, how):
    whole, history = fitted(build(), **how)
    kept = Kept(stop_after=1)
    with pytest.raises(Stopped):
        fitted(build(), kept, **how)
    torch.manual_seed(99)
    resumed, its_history = fitted(build(), kept, **how)
    assert kept.written == 3  # two of three epochs are run again by nobody
    assert its_history == history
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_flips_mirror_about_half_of_the_images():
    x = torch.arange(200 * 12).view(200, 1, 3, 4)
    shown = flipped(x, 5)
    mirrored = (shown == x.flip(3)).all(dim=(1, 2, 3))
    assert (mirrored | (shown == x).all(dim=(1, 2, 3))).all()
    assert 60 <= mirrored.sum() <= 140  # 100 ± 5.7 standard deviations
    assert torch.equal(shown, flipped(x, 5)) and not torch.equal(shown, flipped(x, 6))


def test_training_with_flips_shows_what_they_make_of_the_images(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "flipped", lambda x, seed: seen.append(seed) or x.flip(3))
    one, _ = fitted(models.build("small_resnet", 10, width=2), flips=True, epochs=1, batch_size=30)
    turned = Images(SMALL.x.flip(3), SMALL.y, SMALL.classes)
    model = models.build("small_resnet", 10, width=2)
    fit(model, turned, epochs=1, seed=1, batch_size=30)
    assert len(set(seen)) == 2
    assert all(torch.equal(one[name], value) for name, value in model.state_dict().items())


def test_bfloat16_computes_in_it_and_keeps_weights_and_logits_in_single_precision():
    inner = []

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.normalise = nn.Linear(3 * 32 * 32, 10), nn.Identity()

        def forward(self, x):
            logits = self.layer(x.flatten(1))
            inner.append((x.dtype, logits.dtype))
            return logits

    model = Seen()
    rows = fit(model, SMALL, epochs=1, lr=0.001, ball=L2(0.1), attack_steps=1, bfloat16=True)
    assert {logits for _, logits in inner} == {torch.bfloat16}
    assert {x for x, _ in inner} == {torch.float32}
    assert model.layer.weight.dtype == torch.float32 and rows[0]["loss"] > 0


def test_a_source_goes_on_where_its_training_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "undisturbed")
    how = {"epochs": 3, "width": 2, "device": "cpu"}
    whole, _ = pretrained.source(SMALL, SMALL, **how)
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "stopped")
    write, epochs = pretrained._Unfinished.write, []

    def stopping(self, state):
        write(self, state)
        epochs.append(len(state["history"]))
        if epochs == [1]:
            raise Stopped

    monkeypatch.setattr(pretrained._Unfinished, "write", stopping)
    with pytest.raises(Stopped):
        pretrained.source(SMALL, SMALL, **how)
    (left,) = pretrained.CACHE.glob("*.unfinished")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, record = pretrained.source(SMALL, SMALL, **how)
    assert epochs == [1, 2, 3] and not left.exists()
    same = zip(whole.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert record["seconds"] > 0 and len(list(pretrained.CACHE.glob("*.safetensors"))) == 1


def test_a_state_that_cannot_be_read_is_named_and_the_training_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path)
    how = {"epochs": 1, "width": 2, "device": "cpu"}
    whole, _ = pretrained.source(SMALL, SMALL, **how)
    (path,) = tmp_path.glob("*.safetensors")
    path.unlink()
    path.with_suffix(".unfinished").write_bytes(b"PK\x03\x04 cut short")
    with pytest.warns(UserWarning, match=r"\.unfinished is not used"):
        again, _ = pretrained.source(SMALL, SMALL, **how)
    same = zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
