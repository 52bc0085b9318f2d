import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from lib import feature_plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("titles", [None, ["a", "b", "c"]])
def test_a_sheet_shows_every_image_beside_its_label(titles):
    rows = {name: torch.rand(3, 3, 5, 7) for name in ("natural", "ℓ2 0.5")}
    fig = feature_plots.sheet(rows, titles)
    (ax,) = fig.axes
    page = np.asarray(ax.images[0].get_array())
    assert page.shape == (14, 27, 3)
    for i, images in enumerate(rows.values()):
        for j, image in enumerate(images):
            found = page[7 * i : 7 * i + 5, 9 * j : 9 * j + 7]
            assert np.allclose(found, image.permute(1, 2, 0), atol=0.5 / 23 + 1e-6)
    assert (page[5:7] == 1).all() and (page[:, 7:9] == 1).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(rows)
    assert [label.get_text() for label in ax.get_xticklabels()] == (titles or [])
    # Labels stand at the middle of their images.
    assert ax.get_yticks().tolist() == [2.5, 9.5]


def test_grey_is_darkest_where_the_energy_is_largest():
    energy = torch.tensor([[[0.0, 0.25], [1.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = feature_plots.grey(energy)
    assert found.shape == (2, 3, 2, 2)
    assert torch.allclose(found[0, 1], torch.tensor([[1.0, 0.75], [0.5, 0.0]]))
    assert bool((found[1] == 1).all())


def test_marks():
    frame = pd.DataFrame(
        {
            "what": ["inverted", "inverted", "feature"],
            "source": ["natural", "ℓ2 0.5", "natural"],
            "mean": [0.2, 0.6, 0.1],
            "low": [0.1, 0.5, 0.0],
            "high": [0.4, 0.7, 0.2],
        }
    )
    ax = plt.subplots()[1]
    assert feature_plots.marks(frame, ax, mark=10) is ax
    points = {c.get_label(): c.lines[0] for c in ax.containers}
    assert np.allclose(points["natural"].get_xdata(), [20, 10])
    assert np.allclose(points["ℓ2 0.5"].get_xdata(), [60])
    (whiskers,) = ax.containers[0].lines[2]
    assert np.allclose([s[:, 0] for s in whiskers.get_segments()], [[10, 40], [0, 20]])
    # The first is the highest, and no two sources lie on each other.
    assert [label.get_text() for label in ax.get_yticklabels()] == ["inverted", "feature"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert points["natural"].get_ydata()[0] < 0 < points["ℓ2 0.5"].get_ydata()[0]
    assert any(set(line.get_xdata()) == {10} for line in ax.lines)
    ax = feature_plots.marks(frame, plt.subplots()[1], scale=1)
    assert np.allclose(ax.containers[0].lines[0].get_xdata(), [0.2, 0.1])
