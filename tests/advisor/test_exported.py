import json
import subprocess
import sys

import pytest
import torch

from lib.advisor import exported
from lib.images import Images
from lib.robustness import accuracy
from lib.zoo import models

ALONE = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lib", "torchvision", "timm", "PIL"):
            raise ImportError(f"{name} is not plain torch")

sys.meta_path.insert(0, Refuse())
import torch

extra = {"about.json": ""}
network = torch.export.load(sys.argv[1], extra_files=extra).module()
about = json.loads(extra["about.json"])
x = torch.load(sys.argv[2])
with torch.no_grad():
    torch.save([network(x), network(x[:1])], sys.argv[3])
print(about["classes"][1], about["size"], about["note"])
"""


@pytest.fixture(scope="module")
def network():
    return models.build("small_resnet", 3, seed=0, width=8).eval()


def test_plain_torch_loads_it_elsewhere_and_computes_the_same(network, tmp_path):
    out = tmp_path / "mine.pt2"
    exported.save(network, out, classes=("a", "ünï", "c"), size=32, note="said")
    x = torch.rand(5, 3, 32, 32)
    torch.save(x, tmp_path / "x.pt")
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, "mine.pt2", "x.pt", "y.pt"],
        cwd=tmp_path, capture_output=True, text=True, env={"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ünï", "32", "said"]
    five, one = torch.load(tmp_path / "y.pt")
    with torch.no_grad():
        expected = network(x)
    assert torch.allclose(five, expected, atol=1e-5)
    assert torch.allclose(one, expected[:1], atol=1e-5)


def test_what_is_said_of_it_comes_back_and_the_network_stays(network, tmp_path):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    exported.save(network, tmp_path / "a.pt2", classes=("a", "b", "c"), size=16, source="l2 0.5")
    back, about = exported.load(tmp_path / "a.pt2")
    assert about == {
        "classes": ["a", "b", "c"], "size": 16, "torch": torch.__version__, "source": "l2 0.5",
    }  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    for count in (1, 2, 7):
        x = torch.rand(count, 3, 16, 16)
        with torch.no_grad():
            assert torch.allclose(back(x), network(x), atol=1e-5)


def test_paths_that_cannot_be_saved_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match=r"call it mine\.pt2"):
        exported.check(tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="no folder for the file"):
        exported.check(tmp_path / "none" / "mine.pt2")
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(ValueError, match="no folder for the file"):
        exported.save(network, tmp_path / "folder.pt2", classes=("a", "b", "c"), size=32)


def test_files_that_are_damaged_or_another_s_are_one_line(network, tmp_path, capfd):
    whole = tmp_path / "a.pt2"
    exported.save(network, whole, classes=("a", "b", "c"), size=32)
    content = whole.read_bytes()
    (tmp_path / "cut.pt2").write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    (tmp_path / "changed.pt2").write_bytes(changed)
    (tmp_path / "text.pt2").write_text(json.dumps({"no": "zip"}))
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt2")
    for name in ("cut", "changed", "text", "other"):
        with pytest.raises(ValueError, match=f"{name}.pt2 is damaged, or was not saved") as caught:
            exported.load(tmp_path / f"{name}.pt2")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="there is no file"):
        exported.load(tmp_path / "none.pt2")
    assert "Traceback" not in capfd.readouterr().err


def test_a_network_in_training_mode_is_saved_in_eval_mode(tmp_path):
    network = models.build("small_resnet", 3, seed=0, width=8).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    exported.save(network, tmp_path / "a.pt2", classes=("a", "b", "c"), size=16)
    assert network.training and network.blocks[0].training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    back, _ = exported.load(tmp_path / "a.pt2")
    x = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(back(x), network.eval()(x), atol=1e-5)


class Forgetful(torch.nn.Module):
    """Adds another constant whenever it is called, which no program can know."""

    def __init__(self):
        super().__init__()
        self.weight, self.calls = torch.nn.Parameter(torch.zeros(3)), 0

    def forward(self, x):
        self.calls += 1
        return x.mean((2, 3)) + self.weight + self.calls


def test_what_would_be_wrong_in_use_is_refused_and_nothing_is_written(tmp_path):
    network, out = models.build("small_resnet", 3, seed=0, width=8).eval(), tmp_path / "a.pt2"
    for classes in (("a", "b"), tuple("abcd")):
        with pytest.raises(ValueError, match="3 classes need as many names, not"):
            exported.save(network, out, classes=classes, size=16)
    with pytest.raises(ValueError, match="computes something else"):
        exported.save(Forgetful(), out, classes=("a", "b", "c"), size=16)
    network.head.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"head\.weight are not finite; lower lr"):
        exported.save(network, out, classes=("a", "b", "c"), size=16)
    assert not list(tmp_path.iterdir())


def test_a_file_whose_weights_are_not_finite_is_refused(tmp_path, monkeypatch):
    spoilt = models.build("small_resnet", 3, seed=0, width=8).eval()
    spoilt.head.bias.data[1] = float("inf")
    with monkeypatch.context() as patch:  # as before they were refused
        patch.setattr(exported, "_finite", lambda weights: None)
        patch.setattr(torch, "allclose", lambda *_, **__: True)
        exported.save(spoilt, tmp_path / "a.pt2", classes=("a", "b", "c"), size=16)
    with pytest.raises(ValueError, match=r"head\.bias are not finite"):
        exported.load(tmp_path / "a.pt2")


def test_what_is_loaded_can_be_measured_as_any_network(network, tmp_path):
    exported.save(network, tmp_path / "a.pt2", classes=("a", "b", "c"), size=16)
    x = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8)
    images = Images(x, torch.arange(9) % 3, ("a", "b", "c"))
    assert accuracy(exported.load(tmp_path / "a.pt2")[0], images) == accuracy(network, images)
