"""What several tests share: a small microcosm, and two small networks trained on it."""

import os

import pytest
from hypothesis import settings

# Several processes test at once: more than one thread each, and they slow one another down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A data base would lie in the clone.
settings.register_profile("without a data base", database=None)
settings.load_profile("without a data base")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Compute in one thread, whatever OMP_NUM_THREADS says to what the tests start.

    Besides being slow, several threads break PyTorch 2.14 on processors with AVX-512: the gradients
    of convolutions narrower than 16 channels, as tests have them, are written past their memory.
    """
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """Keep what the tests decode and train out of the clone's data/cache."""
    from lib.datasets import store
    from lib.studies import pretrained

    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "CACHE", root / "images")
        patch.setattr(pretrained, "CACHE", root / "sources")
        yield


@pytest.fixture(scope="session")
def world():
    """Training and test images of the microcosm."""
    from lib import microcosm

    return microcosm.draw(1500, 0), microcosm.draw(400, 1)


@pytest.fixture(scope="session")
def trained(world):
    """Two networks by name, not to be changed: natural, and robust (ℓ2 0.25)."""
    from lib import attacks, training
    from lib.zoo import models

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


@pytest.fixture(scope="session")
def exact(natural):
    """The natural network, in float64."""
    from in_double import InDouble

    return InDouble(natural).eval()


@pytest.fixture
def empty_downloads(tmp_path_factory, monkeypatch):
    """An empty folder of downloads, an empty store of decoded images, and no network."""
    import urllib.error
    import urllib.request

    from lib.datasets import downloads, store

    def no_network(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    root = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(store, "CACHE", root / "images")
    monkeypatch.setattr(downloads, "FOLDER", root / "downloads")
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    return root / "downloads"
