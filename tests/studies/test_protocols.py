"""Protocols of studies, as they are written and as they are not."""

import pytest

from lib.studies import claims, protocols
from lib.studies.measurements import MEASUREMENTS

WHOLE = """
sources: {n_source: 10, source_epochs: 1, attack_steps: 1, l2: [0.25], linf: [], seeds: 1}
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
    assert not found.come and found.learned("folder") == "folder" and found.learned("") == ""


@pytest.mark.parametrize("name", [path.stem for path in protocols.FOLDER.glob("*.yaml")])
def test_those_that_come_with_the_book_ask_for_what_can_be_measured(name):
    found = protocols.read(name)
    assert found.name == name and set(found.measure) <= set(MEASUREMENTS)
    assert found.sizes or "heads" not in found.measure
    assert found.curve_sizes or "curves" not in found.measure
    assert (found.depths and found.depth_sizes) or "depths" not in found.measure
    if found.targets != protocols.BUNDLED:
        assert sorted(found.targets) == sorted(claims.rules()["targets"])


def test_what_the_sources_of_a_protocol_learn():
    come, drawn, given = map(protocols.read, ("photographs", "microcosm", "resnet18"))
    assert (come.come, drawn.come, given.come) == (True, False, False)
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
        (WHOLE.replace("seeds: 1", "seeds: 0"), "seeds must be a whole number from 1"),
        (WHOLE.replace(", seeds: 1", ""), "the sources lack seeds"),
        (WHOLE.replace("seeds: 1", "seeds: 1, sedes: 2"), "sources has no 'sedes'"),
        (WHOLE.replace("seeds: 1", "seeds: 1, recipe: {lrr: 1}"), "recipe has no 'lrr'; allowed"),
        (WHOLE.replace("seeds: 1", "seeds: 1, recipe: 3"), "recipe must be settings by name"),
        (WHOLE.replace("seeds: 1", "seeds: 1, source_data: nowhere"), "nowhere"),
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
