import os
import shutil

import pytest
from generated import examples
from hypothesis import given
from hypothesis import strategies as st
from reading_sets import noise

from lib.datasets import walk
from lib.datasets.walk import File, LeftOut, files_below, subfolders


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_what_storage_lays_beside_images_is_left_out_and_told(tmp_path):
    noise(tmp_path / "a" / "1.jpg")
    for i in range(3):
        touch(tmp_path / "a" / "@eaDir" / f"{i}.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    for name in (
        "__MACOSX/a/._1.jpg", "a/.thumbnails/1.jpg", "a/Thumbs.db", "#recycle/1.jpg", "a/._1.jpg",
        ".DS_Store", "a/desktop.ini", "$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg",
    ):  # fmt: skip
        touch(tmp_path / name)
    left = LeftOut()
    assert [file.path for file in files_below(tmp_path, left)] == [str(tmp_path / "a" / "1.jpg")]
    (note,) = left.notes()
    assert note.startswith("left out, as hidden or of the system: ")
    for told in ("1 @eaDir", "1 __MACOSX", "1 Thumbs.db", "1 #recycle", "1 hidden images"):
        assert told in note, told
    assert subfolders(tmp_path, LeftOut()) == ["a"]


def test_what_is_of_no_format_that_is_taken_is_counted_by_suffix_in_one_line(tmp_path):
    for i in range(20):
        noise(tmp_path / f"{i}.jfif", format="JPEG")
        touch(tmp_path / f"{i}.HEIC")
    for name in ("notes.txt", "icon.ico", "raw.dng", "none", "a\nb.<b>\n"):
        touch(tmp_path / name)
    left = LeftOut()
    assert len(files_below(tmp_path, left)) == 20
    (note,) = left.notes()
    assert note.startswith("left out, as no such files are read: 20 .heic, 1 .")
    assert "1 without a suffix" in note and "1 .ico" in note and r"1 .<b>\n" in note
    assert note.endswith("; pip install pillow-heif to read these photographs")


def test_what_is_called_an_image_but_is_no_file_is_left_out_and_told(tmp_path):
    noise(tmp_path / "a.png")
    os.mkfifo(tmp_path / "x.JPG")
    (tmp_path / "pipe.jpg").symlink_to(tmp_path / "x.JPG")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")  # an image that is lost
    left = LeftOut()
    found = {file.path for file in files_below(tmp_path, left)}
    assert found == {str(tmp_path / name) for name in ("a.png", "gone.png")}
    assert walk.images_in(tmp_path) == 2
    (note,) = left.notes()
    assert note.endswith("as no such files are read: 2 .jpg that is no regular file")
    (tmp_path / "a.png").unlink()
    (tmp_path / "gone.png").unlink()
    assert not walk.holds_images(tmp_path)


def test_the_order_is_that_of_the_parts_of_the_paths(tmp_path):
    names = ("b.png", "a/2.png", "a-b/1.png", "a/c/1.png", "a.png", "a/C.png", "é.png", "a/1.png")
    for name in names:
        noise(tmp_path / name)
    expected = sorted(tmp_path / name for name in names)
    assert [file.path for file in files_below(tmp_path, LeftOut())] == [*map(str, expected)]
    with pytest.raises(ValueError, match=r"nowhere cannot be read \(No such file"):
        files_below(tmp_path / "nowhere", LeftOut())


def test_a_change_of_a_file_is_seen(tmp_path):
    path = noise(tmp_path / "x.bmp")
    first = File.at(str(path))
    assert first == File.at(str(path)) and first.size == path.stat().st_size
    content, at = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert File.at(str(path)).mark != first.mark
    path.unlink()
    assert File.at(str(path)).size == 0
    os.mkfifo(path)
    assert File.at(str(path)).size == 0


def test_many_links_to_the_same_folders_are_walked_once(tmp_path):
    """Two links in each of thirty folders to the next: a billion ways to the last."""
    for i in range(30):
        (tmp_path / f"{i}").mkdir()
        for link in "ab":
            (tmp_path / f"{i}" / link).symlink_to(tmp_path / f"{i + 1}")
    noise(tmp_path / "30" / "x.png")
    assert len(files_below(tmp_path / "0", LeftOut())) == 1


# Generated trees.

NAMES = ("a", "b", "train", "@eaDir", ".hidden", "Thumbs.db", "x.png", "y.JPG", "z.txt", "é", "x<y")


def a_tree(root, data):
    """Lay out folders, files and links at random; return the image files that are to be found."""
    folders, files = [root], set()
    for _ in range(data.draw(st.integers(0, 25))):
        place = data.draw(st.sampled_from(folders)) / data.draw(st.sampled_from(NAMES))
        if os.path.lexists(place):
            continue
        kind = data.draw(st.sampled_from(("folder", "file", "file", "link", "pipe")))
        if kind == "folder":
            place.mkdir()
            folders.append(place)
        elif kind == "file":
            place.write_bytes(b"x")
            files.add(place)
        elif kind == "pipe":
            os.mkfifo(place)
            files.add(place)
        else:
            place.symlink_to(data.draw(st.sampled_from([*folders, *files, root / "gone"])))
    return files


def plainly(folder, seen):
    """Find real image files in a plain recursion over resolved paths."""
    if folder.resolve() in seen:
        return set()
    seen.add(folder.resolve())
    found = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in walk.SYSTEM:
            continue
        if path.is_dir():
            found |= plainly(path, seen)
        elif path.suffix.lower() in (".png", ".jpg") and not path.is_fifo():
            found.add(path.resolve())
    return found


def trees_are_walked_as_in_a_plain_recursion(root, data):
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    a_tree(root, data)
    left = LeftOut()
    found = [os.path.realpath(file.path) for file in files_below(root, left)]
    assert set(found) == {str(path) for path in plainly(root, set(root.parents))}
    assert all("\n" not in note for note in left.notes())


@examples(40)
@given(data=st.data())
def test_trees(tmp_path_factory, data):
    trees_are_walked_as_in_a_plain_recursion(tmp_path_factory.getbasetemp() / "trees", data)


@pytest.mark.long
@examples(4000)
@given(data=st.data())
def test_many_trees(tmp_path_factory, data):
    trees_are_walked_as_in_a_plain_recursion(tmp_path_factory.getbasetemp() / "many", data)


def test_a_deep_tree(tmp_path):
    deep = tmp_path
    for _ in range(400):
        deep /= "d"
    noise(deep / "x.png")
    assert len(files_below(tmp_path, LeftOut())) == 1
