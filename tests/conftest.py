"""What several tests share: a small microcosm, and two small networks trained on it."""

import pytest


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
