import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from lib import plots

SOURCES = ["natural", "ℓ2 0.1", "ℓ2 0.25", "ℓ2 0.5", "ℓ∞ 2/255", "ℓ∞ 4/255", "untrained"]
SIZES = [20, 40, 80, 160]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def frame(x="n_train", values=SIZES, sources=SOURCES):
    rows = [(s, v, 0.1 * i + 0.001 * v) for i, s in enumerate(sources) for v in values]
    frame = pd.DataFrame(rows, columns=["source", x, "mean"])
    return frame.assign(low=frame["mean"] - 0.02, high=frame["mean"] + 0.03)


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def hue(line):
    return to_hex(line.get_color())


@pytest.mark.parametrize(
    ("draw", "x"),
    [
        (plots.against_n, "n_train"),
        (plots.against_eps, "attack_eps"),
        (lambda frame, ax: plots.bands(frame, ax, x="k"), "k"),
    ],
)
def test_what_is_drawn_is_the_frame(ax, draw, x):
    data = frame(x)
    assert draw(data, ax) is ax
    drawn = lines(ax)
    assert list(drawn) == SOURCES
    areas = dict(zip(SOURCES, ax.collections, strict=True))
    for source in SOURCES:
        part = data[data["source"] == source]
        assert drawn[source].get_xdata().tolist() == part[x].tolist()
        assert drawn[source].get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        corners = areas[source].get_paths()[0].vertices
        for size, low, high in part[[x, "low", "high"]].itertuples(index=False):
            reach = corners[corners[:, 0] == size][:, 1]
            assert (reach.min(), reach.max()) == pytest.approx((100 * low, 100 * high))
        assert to_hex(areas[source].get_facecolor()[0][:3]) == hue(drawn[source])


def test_looks():
    found = {source: plots.look(source, SOURCES) for source in SOURCES}
    assert found["natural"]["linestyle"] == "--" and found["untrained"]["linestyle"] == ":"
    assert plots.look("from scratch", SOURCES)["linestyle"] == ":"
    robust = [s for s in SOURCES if s.startswith("ℓ")]
    assert {found[s]["linestyle"] for s in robust} == {"-"}
    r, g, b = to_rgb(found["natural"]["color"])
    assert r == g == b < 0.4  # dark grey
    # ℓ2 is red, ℓ∞ blue, and each darker as ε grows.
    for family, strongest in ((robust[:3], 0), (robust[3:], 2)):
        colours = [to_rgb(found[s]["color"]) for s in family]
        assert all(max(range(3), key=c.__getitem__) == strongest for c in colours)
        brightness = [sum(c) for c in colours]
        assert brightness == sorted(brightness, reverse=True)
    assert to_hex(found["ℓ2 0.5"]["color"]) == plots.VERMILLION.lower()
    assert to_hex(found["ℓ∞ 4/255"]["color"]) == plots.BLUE.lower()
    assert len({to_hex(look["color"]) for look in found.values()}) == len(SOURCES)


def test_the_order_of_the_rows_does_not_matter():
    (_, one), (_, two) = plt.subplots(), plt.subplots()
    plots.against_n(frame(), one)
    plots.against_n(frame().sample(frac=1, random_state=0), two)
    for source, line in lines(one).items():
        other = lines(two)[source]
        assert hue(line) == hue(other)
        assert line.get_xydata().tolist() == other.get_xydata().tolist()


def test_sizes_on_a_doubling_axis(ax):
    sizes = [20, 40, 80, 160, 320, 640, 1258]
    plots.against_n(frame(values=sizes), ax)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "training images N"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["1,258", "320", "80", "20"] and len(ax.get_xticks(minor=True)) == 0
    # Doubling is the same step everywhere.
    places = ax.transData.transform([(n, 50) for n in sizes[:-1]])[:, 0]
    assert np.ptp(np.diff(places)) == pytest.approx(0, abs=1e-6)
    assert ax.get_ylabel() == "test accuracy, %"


def test_differences_stand_side_by_side_around_a_line_at_nothing(ax):
    data = frame(sources=SOURCES[1:])
    assert plots.difference_against_n(data, ax) is ax
    zero = [line for line in ax.lines if set(line.get_ydata()) == {0}]
    assert len(zero) == 1 and zero[0].get_linestyle() == "--"
    drawn = {container.get_label(): container.lines for container in ax.containers}
    assert list(drawn) == SOURCES[1:]
    places = []
    for source, (line, _, (whiskers,)) in drawn.items():
        part = data[data["source"] == source]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        assert hue(line) == to_hex(plots.look(source, SOURCES[1:])["color"])
        places.append(np.log2(np.asarray(line.get_xdata(), float) / part["n_train"]))
        for whisker, x, row in zip(
            whiskers.get_segments(), line.get_xdata(), part.itertuples(), strict=True
        ):
            expected = [[x, 100 * row.low], [x, 100 * row.high]]
            assert whisker.tolist() == [pytest.approx(end) for end in expected]
    # Beside one another in the order of the sources, around N, and nearer to it than to 2 N.
    places = np.array(places)
    assert (np.diff(places, axis=0) > 0.05).all() and np.abs(places).max() < 0.5
    assert places.mean() == pytest.approx(0, abs=1e-9)
    assert ax.get_ylabel() == "accuracy − natural, points"


def test_pictures_pixel_by_pixel(ax):
    x = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    assert plots.pictures(ax, x, columns=3) is ax
    (shown,) = ax.images
    sheet = np.asarray(shown.get_array())
    assert shown.get_interpolation() == "nearest" and not ax.axison
    for i, image in enumerate(x):
        top, left = 6 * (i // 3), 8 * (i % 3)
        tile = sheet[top : top + 4, left : left + 6]
        assert np.allclose(tile, image.permute(1, 2, 0))
    assert (sheet[6:, 16:] == 1).all()  # what is left over is white


def test_pictures_with_titles(ax):
    x = torch.zeros(2, 3, 32, 32)
    plots.pictures(ax, x, ["disc", "ring"], colours=["red", "blue"])
    assert [text.get_text() for text in ax.texts] == ["disc", "ring"]
    assert [text.get_color() for text in ax.texts] == ["red", "blue"]
    left, right = (text.get_position()[0] for text in ax.texts)
    assert 0 < left < 32 < right


def test_adversarial_examples():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(3, 3, 8, 8, generator=generator), torch.tensor([0, 1, 1])
    delta = 0.02 * torch.randn(3, 3, 8, 8, generator=generator)
    delta[2] = 0  # not changed at all: plain grey
    attacked = {
        "natural": (x + delta, torch.tensor([1, 1, 0])),
        "ℓ2 0.25": (x - delta, torch.tensor([0, 1, 1])),
    }
    figure = plots.adversarial_examples(x, y, attacked, ("a", "b"))
    rows = figure.axes
    assert len(rows) == 5
    assert [text.get_text() for text in rows[0].texts] == ["a", "b", "b"]
    assert [text.get_text() for text in rows[2].texts] == ["b", "b", "a"]
    wrong = [text.get_color() == plots.VERMILLION for text in rows[2].texts]
    assert wrong == [True, False, True]
    assert not any(text.get_color() == plots.VERMILLION for text in rows[4].texts)
    tiles = np.asarray(rows[1].images[0].get_array())
    head = tiles.shape[0] - 8 - 2
    for i in range(3):
        tile = tiles[head : head + 8, 10 * i : 10 * i + 8]
        largest = max(float(delta[i].abs().max()), 1e-9)
        assert np.allclose(tile, (0.5 + 0.5 * delta[i] / largest).permute(1, 2, 0), atol=1e-5)


def test_against_steps(ax):
    data = pd.DataFrame(
        [
            (source, rule, steps, 0.8 - 0.1 * i - 0.01 * j - 0.001 * steps)
            for i, source in enumerate(["natural", "ℓ2 0.5"])
            for j, rule in enumerate(["long_then_short", "equal_steps"])
            for steps in (1, 5, 20)
        ],
        columns=["source", "step_sizes", "steps", "accuracy"],
    )
    assert plots.against_steps(data, {"natural": 0.1, "ℓ2 0.5": 0.5}, ax) is ax
    drawn = lines(ax)
    assert len(drawn) == 6
    for (source, rule), part in data.groupby(["source", "step_sizes"]):
        kind = "falling" if rule == "long_then_short" else "equal"
        line = drawn[f"{source}, {kind} steps"]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["accuracy"]).tolist())
        assert line.get_linestyle() == {"falling": "-", "equal": "--"}[kind]
    assert set(drawn["ℓ2 0.5, library attacks"].get_ydata()) == {50}


def test_panels_and_their_legend():
    figure, axes = plots.panels(5, columns=3)
    assert len(axes) == 5 and len(figure.axes) == 6 and not figure.axes[5].axison
    assert len(plots.panels(1)[1]) == 1
    plots.against_n(frame(), axes[0])
    assert plots.legend_below(figure, axes[0]) is figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == SOURCES


def test_style():
    with matplotlib.rc_context():
        plots.use_style()
        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans"]
        assert matplotlib.rcParams["axes.grid"]
