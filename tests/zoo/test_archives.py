"""Files in both formats of torch.save, some of them written by hand."""

import io
import pickle
import struct
import zipfile

import pytest
import torch
from forge import Calls, Named, Pickler

from lib.zoo import archives, weights

FORMATS = [(True, 2), (True, 4), (False, 1), (False, 2), (False, 3), (False, 5)]


def tensor(*, key="0", count=6, offset=0, size=(2, 3), stride=(3, 1), kind="torch:FloatStorage"):
    """A tensor as a pickle describes it; the storage by its persistent id."""
    return Calls(
        "torch._utils:_rebuild_tensor_v2", Persistent(("storage", Named(kind), key, "cpu", count)),
        offset, size, stride, False, Calls("collections:OrderedDict"),
    )  # fmt: skip


class Persistent:
    def __init__(self, said):
        self.said = said


class Described(Pickler):
    def persistent_id(self, value):
        return value.said if isinstance(value, Persistent) else None


def assemble(path, content, new, storages):
    """Write a file by hand: a description, and the bytes of storages by key."""
    pickled = io.BytesIO()
    Described(pickled, 2).dump(content)
    if new:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled.getvalue())
            for key, content in storages.items():
                archive.writestr(f"archive/data/{key}", content)
        return path
    parts = [
        pickle.dumps(part, 2) for part in (archives.MAGIC_NUMBER, archives.PROTOCOL_VERSION, {})
    ]
    parts += [pickled.getvalue(), pickle.dumps(list(storages), 2)]
    for content in storages.values():
        parts += [struct.pack("<q", len(content) // 4), content]
    path.write_bytes(b"".join(parts))
    return path


SIX = struct.pack("<6f", *range(6))


@pytest.mark.parametrize("new", [True, False])
def test_a_file_by_hand(new, tmp_path):
    content = {
        "a": tensor(),
        "b": tensor(offset=1, size=(2,), stride=(3,)),
        "c": tensor(size=(0, 3)),
    }
    found = weights.read(assemble(tmp_path / "f", content, new, {"0": SIX}))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [1, 4] and found["c"].shape == (0, 3)
    found["a"].zero_()  # views of one storage, as PyTorch loads them
    assert found["b"].tolist() == [0, 0]


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "hostile",
    [
        {"count": 2**50, "size": (2**50,), "stride": (1,)},
        {"count": 7},
        {"count": -6},
        {"count": 5},
        {"size": (3, 3)},
        {"offset": 1},
        {"offset": -1},
        {"stride": (3, 2)},
        {"stride": (-3, 1)},
        {"size": (2**40, 3), "stride": (0, 0)},
        {"size": (2, 3), "stride": (1,)},
        {"size": (2.0, 3)},
        {"key": "../../x"},
        {"kind": "torch:DoubleStorage"},
        {"kind": "torch:QInt8Storage"},
        {"count": 6.0},
    ],
    ids=str,
)
def test_sizes_that_the_file_does_not_hold_are_refused(new, hostile, tmp_path):
    path = assemble(tmp_path / "f", {"a": tensor(**hostile)}, new, {"0": SIX})
    with pytest.raises(ValueError) as caught:
        weights.read(path)
    words = ("is damaged, or no checkpoint: ", "describes more tensors than a checkpoint has")
    assert str(caught.value).startswith(tuple(f"{path} {word}" for word in words))
    assert "\n" not in str(caught.value)


def test_two_descriptions_of_one_storage_are_refused(tmp_path):
    content = {"a": tensor(), "b": tensor(count=3, size=(3,), stride=(1,))}
    with pytest.raises(ValueError, match="the storage '0' is described in two ways"):
        weights.read(assemble(tmp_path / "f", content, True, {"0": SIX}))


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_archives_that_are_no_checkpoints(tmp_path):
    good = {"a/data.pkl": pickle.dumps({}, 2)}
    script = archive(tmp_path / "script", good | {"a/constants.pkl": b"", "a/code/x.py": b""})
    bomb = archive(tmp_path / "bomb", good, zipfile.ZIP_DEFLATED)
    big = archive(tmp_path / "big", good | {"a/byteorder": b"big"})
    for path, said in [
        (script, "it is a TorchScript program; save the state_dict"),
        (archive(tmp_path / "x", {"a.txt": b"1"}), "a zip archive without a data.pkl is no"),
        (archive(tmp_path / "y", {"a.npy": b"1"}), "archive of NumPy; write its arrays by torch"),
        (bomb, "its archive is compressed"),
        (big, "in the order of a big-endian machine"),
    ]:
        with pytest.raises(ValueError, match=said):
            weights.read(path)


@pytest.mark.parametrize(("new", "protocol"), FORMATS)
def test_every_type_of_number(new, protocol, tmp_path):
    kinds = [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
        torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
    ]  # fmt: skip
    content = {str(kind): (torch.arange(6) % 3).to(kind).view(2, 3) for kind in kinds}
    content["transposed"] = torch.arange(6.0).view(2, 3).T
    content["parameter"] = torch.nn.Parameter(torch.rand(2))
    content["part"] = torch.arange(10)[3:7]
    content["scalar"] = torch.tensor(3)
    content["empty"] = torch.empty(0, 4)
    if new:
        content["byte floats"] = torch.arange(4.0).to(torch.float8_e4m3fn)
    path = tmp_path / "file.pt"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    found = weights.read(path)
    assert list(found) == list(content)
    for key, value in content.items():
        assert found[key].dtype == value.dtype and found[key].shape == value.shape
        same = (
            found[key] == value if found[key].is_complex() else found[key].float() == value.float()
        )
        assert same.all(), key
        assert not found[key].requires_grad and type(found[key]) is torch.Tensor
