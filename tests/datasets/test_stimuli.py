import pytest
import torch
from generated import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib.datasets.stimuli import read_mapping, read_stimuli

NAMES = {"bear/bear3-clock1": "red", "bear/bear10-oven2": "lime", "clock/clock2-bear1": "blue"}


def write(folder, name, colour="white"):
    path = folder / name.split("/")[0] / f"{name.split('/')[1]}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 48), colour).save(path)


@pytest.fixture
def published(tmp_path):
    for name, colour in NAMES.items():
        write(tmp_path, name, colour)
    write(tmp_path, "clock/clock1-clock2")  # its cues agree: no conflict
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "bear" / "notes.txt").write_text("not an image")
    return tmp_path


def test_read(published):
    found = read_stimuli(published, 32)
    assert found.classes == ("bear", "clock", "oven")
    # Each image has kept its own cues; red, lime and blue are the three channels.
    cues = zip(found.shape.tolist(), found.texture.tolist(), strict=True)
    colours = found.x[:, :, 5, 5].argmax(1).tolist()
    assert dict(zip(cues, colours, strict=True)) == {(0, 1): 0, (0, 2): 1, (1, 0): 2}
    assert found.x.shape == (3, 3, 32, 32)
    assert found.shape_alone is None and found.texture_alone is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bear/cat1-clock1", "is no stimulus; expected <shape>/<shape><n>-<texture><m>"),
        ("bear/bear-clock", "is no stimulus"),
    ],
)
def test_bad_names(published, name, message):
    write(published, name)
    with pytest.raises(ValueError, match=message):
        read_stimuli(published, 32)


def test_no_stimuli(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="holds no stimuli"):
            read_stimuli(folder, 32)


def test_mapping_by_name():
    assert read_mapping(None, ("oven", "car", "bear"), ("bear", "oven")).tolist() == [1, -1, 0]
    with pytest.raises(ValueError, match="no class of the source belongs to 'bear'"):
        read_mapping(None, ("oven", "car"), ("bear", "oven"))


def mapping(folder, *rows, header="source_class,stimulus_class"):
    file = folder / "mapping.csv"
    file.write_text("\n".join([header, *rows]))
    return file


def test_mapping_from_a_file(tmp_path):
    file = mapping(tmp_path, "brown bear,bear", "polar bear,bear", "wall clock,clock")
    source = ("wall clock", "polar bear", "car", "brown bear")
    assert read_mapping(file, source, ("bear", "clock")).tolist() == [1, 0, -1, 0]
    for rows, message in (
        (("grizzly,bear",), "unknown class 'grizzly'; known: wall clock"),
        (("car,vehicle",), "unknown class 'vehicle'; known: bear, clock"),
        (("polar bear,bear",), "no class of the source belongs to 'clock'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_mapping(mapping(tmp_path, *rows), source, ("bear", "clock"))
    with pytest.raises(ValueError, match="needs the columns source_class and stimulus_class"):
        read_mapping(mapping(tmp_path, header="a,b"), source, ("bear", "clock"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"source_class,stimulus_class\nb\xe4r,bear\n", "is no CSV file .*save it as UTF-8"),
        (b'source_class,stimulus_class\n"' + b"x" * 200_000, "is no CSV file .*field larger than"),
        (b"source_class,stimulus_class\rcar\n", "unknown class"),
        (b"source_class,stimulus_class\ncar\n", "unknown class None"),
        (b"", "needs the columns"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path, content, said):
    (tmp_path / "mapping.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_mapping(tmp_path / "mapping.csv", ("car",), ("bear",))
    assert str(tmp_path / "mapping.csv") in str(error.value)


# Generated.

CLASSES = ("bear", "clock")
SOURCE_CLASSES = ("brown bear", "wall clock", "a, b", 'the "c"', "bear")
CELLS = st.one_of(
    st.sampled_from([*SOURCE_CLASSES, *CLASSES, "source_class", "stimulus_class", "", "\0", "é"]),
    st.text(max_size=5),
)
LINES = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=6).map("\n".join)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    LINES.map(lambda text: text.encode("utf-8", "surrogatepass")),
    LINES.map(lambda text: f"source_class,stimulus_class\n{text}".encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(b'\n\r,"\0ab'), max_size=20).map(
        lambda end: b"source_class,stimulus_class\nbrown bear,bear\nwall clock,clock" + bytes(end)
    ),
)


def a_mapping_is_read_or_refused(path, content):
    """Hold a file against what it may be: an index of a class of each, or one line."""
    path.write_bytes(content)
    try:
        found = read_mapping(path, SOURCE_CLASSES, CLASSES)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.dtype == torch.int64 and len(found) == len(SOURCE_CLASSES)
        assert set(found.tolist()) - {-1} == {0, 1}


@examples(60)
@given(content=CONTENTS)
def test_mappings(tmp_path_factory, content):
    a_mapping_is_read_or_refused(tmp_path_factory.getbasetemp() / "mapping.csv", content)


@pytest.mark.long
@examples(8000)
@given(content=CONTENTS)
def test_many_mappings(tmp_path_factory, content):
    a_mapping_is_read_or_refused(tmp_path_factory.getbasetemp() / "many.csv", content)
