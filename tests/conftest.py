"""What several tests share: a small microcosm, and two small networks trained on it."""

import os

import pytest

# Several processes test at once: more than one thread each, and they slow one another down.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def world():
    """Training and test images of the microcosm."""
    from lib import microcosm

    return microcosm.draw(1500, 0), microcosm.draw(400, 1)


@pytest.fixture(scope="session")
def trained(world):
    """Two networks by name, not to be changed: natural, and robust (ℓ2 0.25)."""
    import torch

    from lib import attacks, models, training

    torch.set_num_threads(1)

    def network(ball):
        model = models.build("small_resnet", 10, seed=0, width=8)
        training.fit(model, world[0], epochs=4, ball=ball, attack_steps=2, seed=0)
        return model.requires_grad_(False)

    return {"natural": network(None), "robust": network(attacks.L2(0.25))}


@pytest.fixture(scope="session")
def natural(trained):
    return trained["natural"]


@pytest.fixture(scope="session")
def robust(trained):
    return trained["robust"]


@pytest.fixture
def empty_downloads(tmp_path, monkeypatch):
    """An empty folder of downloads, and no network."""
    import urllib.error
    import urllib.request

    from lib import decoded, downloads

    def no_network(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(decoded, "CACHE", tmp_path / "images")
    monkeypatch.setattr(downloads, "FOLDER", tmp_path / "downloads")
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    return tmp_path / "downloads"
