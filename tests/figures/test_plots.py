import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from lib.constraint import FROM_SCRATCH, NATURAL, UNTRAINED, Constraint, constraints
from lib.figures import image_plots, looks, plots

LADDER = [*constraints([0.1, 0.25, 0.5], [2 / 255, 4 / 255]), UNTRAINED]
LABELS = ["natural", "ℓ2 0.1", "ℓ2 0.25", "ℓ2 0.5", "ℓ∞ 2/255", "ℓ∞ 4/255", "untrained"]
SIZES = [20, 40, 80, 160]
STRONG = Constraint("l2", 0.5)


def frame(x="n_train", values=SIZES, among=LADDER):
    rows = [(c, v, 0.1 * i + 0.001 * v) for i, c in enumerate(among) for v in values]
    frame = pd.DataFrame(rows, columns=["constraint", x, "mean"])
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
    assert list(drawn) == LABELS
    for constraint, area in zip(LADDER, ax.collections, strict=True):
        part, line = data[data["constraint"] == constraint], drawn[str(constraint)]
        assert line.get_xdata().tolist() == part[x].tolist()
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        corners = area.get_paths()[0].vertices
        for size, low, high in part[[x, "low", "high"]].itertuples(index=False):
            reach = corners[corners[:, 0] == size][:, 1]
            assert (reach.min(), reach.max()) == pytest.approx((100 * low, 100 * high))
        assert to_hex(area.get_facecolor()[0][:3]) == hue(line)


def test_looks():
    found = {constraint: looks.look(constraint, LADDER) for constraint in LADDER}
    assert found[NATURAL]["linestyle"] == "--" and found[UNTRAINED]["linestyle"] == ":"
    assert looks.look(FROM_SCRATCH, LADDER)["linestyle"] == ":"
    robust = LADDER[1:-1]
    assert {found[c]["linestyle"] for c in robust} == {"-"}
    r, g, b = to_rgb(found[NATURAL]["color"])
    assert r == g == b < 0.4  # dark grey
    # ℓ2 is red, ℓ∞ blue, and each darker as ε grows.
    for family, strongest in ((robust[:3], 0), (robust[3:], 2)):
        colours = [to_rgb(found[c]["color"]) for c in family]
        assert all(max(range(3), key=c.__getitem__) == strongest for c in colours)
        brightness = [sum(c) for c in colours]
        assert brightness == sorted(brightness, reverse=True)
    assert to_hex(found[robust[0]]["color"]) == looks.VERMILLION.lower()
    assert to_hex(found[robust[3]]["color"]) == looks.BLUE.lower()
    assert len({to_hex(look["color"]) for look in found.values()}) == len(LADDER)


def test_a_source_looks_the_same_in_all_figures_of_a_chapter():
    dark, alone = (looks.look(STRONG, among)["color"] for among in (LADDER, [STRONG]))
    assert dark != alone
    looks.shade(*LADDER)
    weak = LADDER[1]
    assert looks.look(weak, [weak])["color"] == looks.look(weak, LADDER)["color"]
    assert looks.look(STRONG, [STRONG])["color"] == dark
    looks.shade()
    assert looks.look(STRONG, [STRONG])["color"] == alone


def test_networks_of_another_origin_are_dash_dotted_in_greens():
    others = [Constraint(name) for name in ("b.pt", "a.pt")]
    found = [looks.look(c, [*LADDER, *others]) for c in others]
    assert {look["linestyle"] for look in found} == {"-."}
    assert to_hex(found[1]["color"]) == looks.GREEN.lower() != to_hex(found[0]["color"])
    for constraint in LADDER:  # and change no others
        assert looks.look(constraint, [*LADDER, *others]) == looks.look(constraint, LADDER)


def disordered(data):
    """The same rows, each second one first: no line is in order, nor backwards."""
    return pd.concat([data.iloc[1::2], data.iloc[::2]])


def test_the_order_of_the_rows_does_not_matter():
    (_, one), (_, two) = plt.subplots(), plt.subplots()
    plots.against_n(frame(), one)
    plots.against_n(disordered(frame()), two)
    assert list(lines(one)) == list(lines(two)) == LABELS
    for label, line in lines(one).items():
        other = lines(two)[label]
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
    data = frame(among=LADDER[1:])
    assert plots.difference_against_n(disordered(data), ax) is ax
    zero = [line for line in ax.lines if set(line.get_ydata()) == {0}]
    assert len(zero) == 1 and zero[0].get_linestyle() == "--"
    drawn = {container.get_label(): container.lines for container in ax.containers}
    assert list(drawn) == LABELS[1:]
    places = []
    for constraint, (line, caps, (whiskers,)) in zip(LADDER[1:], drawn.values(), strict=True):
        part = data[data["constraint"] == constraint]
        assert not caps and line.get_linewidth() == whiskers.get_linewidth()[0] == 1
        assert line.get_ydata().tolist() == pytest.approx((100 * part["mean"]).tolist())
        assert hue(line) == to_hex(looks.look(constraint, LADDER[1:])["color"])
        places.append(np.log2(np.asarray(line.get_xdata(), float) / part["n_train"]))
        for whisker, x, row in zip(
            whiskers.get_segments(), line.get_xdata(), part.itertuples(), strict=True
        ):
            expected = [[x, 100 * row.low], [x, 100 * row.high]]
            assert whisker.tolist() == [pytest.approx(end) for end in expected]
    # Beside one another in the order of the constraints, around N, and nearer to it than to 2 N.
    places = np.array(places)
    assert (np.diff(places, axis=0) > 0.05).all() and np.abs(places).max() < 0.5
    assert places.mean() == pytest.approx(0, abs=1e-9)
    assert ax.get_ylabel() == "accuracy − natural, points"


def test_against_steps(ax):
    data = pd.DataFrame(
        [
            (constraint, rule, steps, 0.8 - 0.1 * i - 0.01 * j - 0.001 * steps)
            for i, constraint in enumerate([NATURAL, STRONG])
            for j, rule in enumerate(["long_then_short", "equal_steps"])
            for steps in (1, 5, 20)
        ],
        columns=["constraint", "step_sizes", "steps", "accuracy"],
    )
    assert plots.against_steps(disordered(data), {NATURAL: 0.1, STRONG: 0.5}, ax) is ax
    drawn = lines(ax)
    assert len(drawn) == 6
    for (constraint, rule), part in data.groupby(["constraint", "step_sizes"]):
        kind = "falling" if rule == "long_then_short" else "equal"
        line = drawn[f"{constraint}, {kind} steps"]
        assert hue(line) == hue(drawn[f"{constraint}, library attacks"])
        assert line.get_xdata().tolist() == [1, 5, 20]
        assert line.get_ydata().tolist() == pytest.approx((100 * part["accuracy"]).tolist())
        assert line.get_linestyle() == {"falling": "-", "equal": "--"}[kind]
    assert set(drawn["ℓ2 0.5, library attacks"].get_ydata()) == {50}


def test_panels_and_their_legend():
    figure, axes = plots.panels(5, columns=3)
    assert len(axes) == 5 and len(figure.axes) == 6 and not figure.axes[5].axison
    assert len(plots.panels(1)[1]) == 1
    plots.against_n(frame(), axes[0])
    assert plots.legend_below(figure, axes[0]) is figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == LABELS


def test_a_legend_is_no_wider_than_its_figure():
    figure, (ax,) = plots.panels(1)
    plots.legend_below(figure, plots.against_n(frame(), ax), columns=7)
    (legend,) = figure.legends
    figure.canvas.draw()
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and 1 < legend._ncols < 7
    wide, (ax, *_) = plots.panels(3)
    plots.legend_below(wide, plots.against_n(frame(), ax), columns=7)
    assert wide.legends[0]._ncols == 7


def test_a_panel_for_each_value_in_order_of_appearance():
    parts = [frame().assign(target=name) for name in ("b", "a", "d", "c")]
    figure, axes = plots.each_panel(pd.concat(parts), "target", plots.against_n)
    assert [ax.get_title() for ax in axes] == ["b", "a", "d", "c"]
    # What is measured is said at the left of each row of panels only.
    assert [bool(ax.get_ylabel()) for ax in axes] == [True, False, False, True]
    assert [list(lines(ax)) for ax in axes] == [LABELS] * 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == LABELS


def test_a_panel_for_each_number_says_what_it_counts():
    parts = [frame("attack_eps", [0, 1]).assign(n_train=n) for n in (1280, 20)]
    _, axes = plots.each_panel(pd.concat(parts), "n_train", plots.against_eps, sharey=True)
    assert [ax.get_title() for ax in axes] == ["N = 1,280", "N = 20"]
    assert axes[0].get_ylim() == axes[1].get_ylim()


def test_of_one_draw_there_are_means_without_whiskers(ax):
    once = frame(among=[STRONG]).assign(low=np.nan, high=np.nan)
    plots.against_n(once, ax)
    plots.difference_against_n(once, ax)
    plots.whiskers(once, once["mean"], ax, across=True, capsize=3)
    ax.figure.canvas.draw()
    for container in ax.containers:
        assert np.isfinite(container.lines[0].get_xydata()).all()
        for whisker in container.lines[2]:
            assert not any(len(segment) for segment in whisker.get_segments())


@pytest.fixture
def as_it_was():
    with matplotlib.rc_context(), pd.option_context("display.html.use_mathjax", True):
        yield


ODD = ["a_b <i>&amp;", "$x$ costs $5", "two\nlines", "*bold* `code`", "_\\foo{$", "$5_$10"]
SHOWN = ["a_b <i>&amp;", "$x$ costs $5", "two lines", "*bold* `code`", "_\\foo{$", "$5_$10"]


def shown(text):
    """What matplotlib draws for a Text: raises where it would begin a formula."""
    drawn, is_formula = text._preprocess_math(text.get_text())
    assert is_formula is False
    return drawn


def test_odd_names_are_drawn_as_they_are(as_it_was):
    plots.begin("cpu")
    ax = plt.subplots()[1]
    part = frame(among=[NATURAL])
    figure, axes = plots.each_panel(
        pd.concat([part.assign(target=name) for name in ODD]), "target", plots.against_n
    )
    assert [shown(panel.title) for panel in axes] == SHOWN
    image_plots.pictures(ax, torch.zeros(len(ODD), 3, 8, 8), ODD)
    assert [shown(text) for text in ax.texts] == SHOWN
    named = [Constraint(name) for name in ODD]
    plots.legend_below(ax.figure, plots.against_n(frame(among=named), ax))
    in_legend = [shown(text).lstrip("\u200b") for text in ax.figure.legends[0].get_texts()]
    assert sorted(in_legend) == sorted(SHOWN)
    x, y = torch.rand(len(ODD), 3, 8, 8), torch.arange(len(ODD))
    examples = image_plots.adversarial_examples(x, y, {(named[1], 0): (x, y)}, ODD)
    assert [shown(text) for text in examples.axes[2].texts] == SHOWN
    titles = [shown(panel._left_title) for panel in examples.axes[1:]]
    assert [title.split(": ")[0] for title in titles] == ["$x$ costs $5 source, seed 0"] * 2
    for drawn in (figure, ax.figure, examples):
        drawn.canvas.draw()


def test_style(as_it_was, monkeypatch):
    quoted = {}
    monkeypatch.setattr(plots, "quote", quoted.update)
    assert plots.begin("cpu", dpi=105) == torch.device("cpu")
    assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"  # the same on every machine
    assert not matplotlib.rcParams["text.parse_math"]
    assert matplotlib.rcParams["axes.grid"] and matplotlib.rcParams["figure.dpi"] == 105
    assert quoted == {"device": "cpu"}
    # JupyterLab takes what stands between dollars for a formula, in tables too.
    assert "tex2jax_ignore" in pd.DataFrame({"a": ["$x$"]}).to_html()


@pytest.mark.parametrize(("count", "drawn"), [(1, 0), (2, 2), (9, 9), (10, 0)])
def test_few_seeds_are_dots_on_whiskers_and_in_bands(count, drawn):
    seeds = tuple(np.linspace(0.2, 0.8, count))
    part = frame(values=[20, 40], among=[STRONG])
    part["of_seeds"] = [seeds] * len(part)
    for draw, across in ((plots.whiskers, False), (plots.whiskers, True), (plots.bands, False)):
        _, ax = plt.subplots()
        if draw is plots.bands:
            draw(part, ax, x="n_train")
        else:
            draw(part, part["n_train"], ax, across=across, color="red")
        dots = [line.get_xydata() for line in ax.lines if line.get_marker() == "."]
        assert len(dots) == (2 if drawn else 0)
        for place, points in zip((20, 40), dots, strict=False):
            where, values = points.T[::-1] if across else points.T
            assert set(where) == {place} and values == pytest.approx(100 * np.array(seeds))


def test_a_source_looks_the_same_in_every_panel_whichever_others_it_has():
    every = frame().assign(panel="all")
    few = frame(among=[NATURAL, LADDER[1]]).assign(panel="few")
    _, axes = plots.each_panel(pd.concat([every, few]), "panel", plots.against_n)
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in axes]
    assert set(colours[1]) < set(colours[0])
    assert all(colours[0][name] == colour for name, colour in colours[1].items())


def test_what_comes_with_the_book_looks_as_the_source_it_is_called_after():
    called = [Constraint(f"photographs {name}") for name in ("ℓ2 0.5", "natural", "nothing")]
    found = looks.lines(pd.DataFrame({"constraint": called}))
    assert [name for name, _, _ in found] == [called[1], called[0], called[2]]
    alone = {name: style for name, _, style in looks.lines(frame(among=[NATURAL, STRONG]))}
    for (_, _, style), name in zip(found, (NATURAL, Constraint("l2", 0.5)), strict=False):
        assert style["marker"] == looks.look(name, [name])["marker"]
    assert found[0][2]["color"] == alone[NATURAL]["color"]
    both = looks.lines(pd.DataFrame({"constraint": [called[0], Constraint("l2", 0.5)]}))
    assert len({str(style["marker"]) for _, _, style in both}) == 2  # beside the ladder's own
