"""Protocols of studies, as they are written and as they are not."""

import pytest

from lib.studies import claims, protocols
from lib.studies.measurements import MEASUREMENTS

WHOLE = """
sources: {n_source: 10, source_epochs: 1, attack_steps: 1, l2: [0.25], linf: [], seeds: 2}
targets: [mnist]
measure: [heads]
sizes: [10]
"""


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
    assert found.sizes == rules["sizes"] and found.curve_sizes == faster["sizes"]
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
        ("[" * 5000, "is no YAML"),
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
        (WHOLE + "depth_sources: [natural, l2 3]", "has 'l2 3'; the sources are natural, l2 0.25"),
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
