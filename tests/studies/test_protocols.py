"""Protocols of studies, as they are written and as they are not."""

import pytest
import yaml
from generated import examples, nested
from hypothesis import given
from hypothesis import strategies as st

from lib.studies import claims, protocols
from lib.studies.measurements import MEASUREMENTS

WHOLE = """
sources: {n_source: 10, source_epochs: 1, attack_steps: 1, l2: [0.25], linf: [], seeds: 2}
targets: [mnist]
measure: [heads]
sizes: [10]
"""
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "own.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return written


def test_a_protocol_is_read(write):
    found = protocols.read(write(WHOLE))
    assert found.name == "own" and list(found.targets) == ["mnist"]
    assert list(found.measure) == ["heads"] and list(found.sizes) == [10] and not found.depths
    assert (
        not found.comes_with_the_book
        and found.learned("folder") == "folder"
        and found.learned("") == ""
    )


@pytest.mark.parametrize("name", [path.stem for path in protocols.FOLDER.glob("*.yaml")])
def test_those_that_come_with_the_book_ask_for_what_can_be_measured(name):
    found = protocols.read(name)
    assert found.name == name and set(found.measure) <= set(MEASUREMENTS)
    assert found.sizes or "heads" not in found.measure
    assert found.curve_sizes or "curves" not in found.measure
    assert (found.depths and found.depth_sizes) or "depths" not in found.measure
    if found.targets != protocols.BUNDLED:
        assert sorted(found.targets) == sorted(claims.rules()["targets"])


def test_photographs_are_measured_as_was_fixed():
    found, rules = protocols.read("photographs"), claims.rules()
    faster, depths = rules["claims"]["faster"], rules["claims"]["any_depth"]
    assert found.sizes == rules["sizes"] and set(faster["sizes"]) <= set(found.curve_sizes)
    assert found.depths == depths["depths"]
    assert found.depth_sizes == depths["sizes"]


def test_a_file_is_not_called_as_a_protocol_of_the_book_nor_oddly(tmp_path):
    for name, said in (("photographs", "is called as a protocol"), ("my_own", "allowed are small")):
        (tmp_path / f"{name}.yaml").write_text(WHOLE)
        with pytest.raises(ValueError, match=said):
            protocols.read(str(tmp_path / f"{name}.yaml"))


def test_what_the_sources_of_a_protocol_learn():
    come, drawn, given = map(protocols.read, ("photographs", "microcosm", "resnet18"))
    assert tuple(p.comes_with_the_book for p in (come, drawn, given)) == (True, False, False)
    assert [one.learned("") for one in (come, drawn, given)] == ["", "microcosm", ""]
    assert come.learned("here") == given.learned("here") == "here"
    with pytest.raises(ValueError, match="the sources of microcosm learn microcosm; leave"):
        drawn.learned("here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no keys; needed are sources, targets and measure"),
        ("[heads]", "has no keys"),
        ("sources: [", "is no YAML"),
        (b"\xff\xfe\x00", "is no YAML"),
        ("[" * 5000, "is no YAML .*: it is nested more than 4 levels deep"),
        (WHOLE + "depths: [[[[0]]]]", "it is nested more than 4 levels deep"),
        (WHOLE + LAUGHS, r"is no YAML .*: \*a0 is an alias; write out what it stands for"),
        ("a: &a\n  b: *a", r"\*a is an alias"),
        (WHOLE + "<<: {sizes: [20]}", "a protocol has no '<<'; allowed are sources"),
        (WHOLE + "depths: !!timestamp x", "is no YAML of a protocol: .*groupdict"),
        (WHOLE + "depths: !!bool x", "is no YAML of a protocol: 'x'"),
        (WHOLE + "depths: !!int x", "is no YAML of a protocol: invalid literal for int"),
        (WHOLE + f"depths: !!float {'1:' * 200}1.5", "too large to convert"),
        (WHOLE + "depths: [1:30]", r"depths\[0\] must be a whole number"),
        (WHOLE + "depths: [2024-01-02]", r"depths\[0\] must be a whole number"),
        ("targets: [a]\nmeasure: [heads]", "the protocol lacks sources"),
        (WHOLE + "size: [10]", "a protocol has no 'size'; allowed are sources, targets"),
        (WHOLE.replace("[10]", "10"), "sizes must be a list of whole numbers"),
        (WHOLE.replace("[10]", "[-1]"), r"sizes\[0\] must be a whole number from 0"),
        (WHOLE.replace("[heads]", "heads"), "measure must be a list of tables"),
        (WHOLE.replace("[mnist]", "mnist"), "targets must be a list of names of folders"),
        (WHOLE.replace("seeds: 2", "seeds: 1"), "seeds must be a whole number from 2"),
        (WHOLE.replace(", seeds: 2", ""), "the sources lack seeds"),
        (WHOLE.replace("seeds: 2", "seeds: 2, sedes: 2"), "sources has no 'sedes'"),
        (WHOLE.replace("seeds: 2", "seeds: 2, recipe: {lrr: 1}"), "recipe has no 'lrr'; allowed"),
        (WHOLE.replace("seeds: 2", "seeds: 2, recipe: 3"), "recipe must be settings by name"),
        (WHOLE.replace("seeds: 2", "seeds: 2, source_data: nowhere"), "nowhere"),
        (WHOLE.replace("seeds: 2", "seeds: 2, recipe: {lr: fast}"), "lr must be a number"),
        (WHOLE.replace("seeds: 2", "seeds: 2, recipe: {flips: 'no'}"), "flips must be True or"),
        (WHOLE.replace("seeds: 2", "seeds: 2, recipe: {epochs: 9}"), "recipe has no 'epochs'"),
        (WHOLE.replace("seeds: 2", "seeds: 2, source_data: photographs"), "sources has no 'n_so"),
        (WHOLE.replace("sizes: [10]", ""), "the protocol measures heads and lacks sizes"),
        (WHOLE.replace("[heads]", "[heads, depths]"), "measures depths and lacks depths, depth_si"),
        (WHOLE + "depth_sources: [l3 0.5]\n", "constraint is 'l3 0.5'; allowed are natural"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(write, text, said):
    with pytest.raises(ValueError, match=said) as error:
        protocols.read(write(text))
    assert len(str(error.value).splitlines()) == 1


def test_a_protocol_that_is_not_there_is_named():
    said = "there is no protocol 'resnet'; allowed are microcosm, photographs, resnet18, and a YAML"
    with pytest.raises(ValueError, match=said):
        protocols.read("resnet")


# Generated.

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=3),
    st.text(max_size=6),
    st.sampled_from(
        ["natural", "l2 0.25", "l2 1e999", "all", "heads", "mnist", "microcosm", "photographs",
         "resnet18", "crops", "1:30", "<<", "a\nb", "\0"]
    ),
)  # fmt: skip
VALUES = nested(SCALARS, size=3, leaves=5)
KEYS = st.sampled_from(sorted({*protocols.RULES, *protocols.SOURCES, *protocols.RECIPE, "a", "<<"}))
TYPES = ["!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ", "!!x "]
PIECES = st.one_of(
    st.text(st.sampled_from("aeinotx019-+.:[]{}&*!|>'\"#%@,? \n\té\0<"), max_size=8),
    st.sampled_from([*TYPES, "&a ", "*a", "<<: ", "[" * 500, "1:" * 200, "---\n", "? "]),
)


def changed_values(data):
    """A whole protocol with other values in one place or two, as YAML."""
    given = yaml.safe_load(WHOLE)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from([given, given.get("sources"), {}]))
        if isinstance(place, dict):
            place[data.draw(KEYS)] = data.draw(VALUES)
    return yaml.safe_dump(given, allow_unicode=data.draw(st.booleans()))


def changed_text(data):
    """A whole protocol with other text in one place or two."""
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(PIECES) + text[at + data.draw(st.integers(0, 4)) :]
    return text


def a_protocol_is_read_or_refused(path, data):
    """Hold a file against what a protocol may be: it is one, or refused in one line."""
    changed = data.draw(st.sampled_from([changed_values, changed_text]))
    path.write_bytes(changed(data).encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(protocols.read(str(path)), protocols.Protocol)
    except (ValueError, OSError) as error:
        assert len(str(error).splitlines()) == 1


@examples(60)
@given(data=st.data())
def test_files_of_protocols(tmp_path_factory, data):
    a_protocol_is_read_or_refused(tmp_path_factory.getbasetemp() / "some.yaml", data)


@pytest.mark.long
@examples(8000)
@given(data=st.data())
def test_many_files_of_protocols(tmp_path_factory, data):
    a_protocol_is_read_or_refused(tmp_path_factory.getbasetemp() / "many.yaml", data)
