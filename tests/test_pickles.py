"""Malicious and damaged files; a malicious one would create a marker file if anything ran."""

import collections
import contextlib
import io
import pickle
import struct
import sys
import zipfile

import pytest
import torch

from lib import checkpoints, pickles

WEIGHTS = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}
# In protocol 0 the place of a tensor is text, and torch.save's files cannot be read by anyone.
FORMATS = [(True, 2), (True, 4), (False, 1), (False, 2), (False, 3), (False, 5)]


class Named:
    """Pickles as the name of any global, whether it is there or not."""

    def __init__(self, name):
        self.module, _, self.name = name.partition(":")

    def __call__(self):
        raise AssertionError


class Calls:
    """Pickles as a call, and what is then done to its result; it can be called in turn."""

    def __init__(self, function, *args, **then):
        function = Named(function) if isinstance(function, str) else function
        self.function, self.args, self.then = function, args, then

    def __reduce__(self):
        items, entries = self.then.get("items"), self.then.get("entries")
        return (
            self.function, self.args, self.then.get("state"),
            items and iter(items), entries and iter(entries),
        )  # fmt: skip

    def __call__(self):
        raise AssertionError


class Pickler(pickle._Pickler):
    """Pickle's own, in Python, which lets names be written that are not there."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_named(self, named):
        if self.proto >= 4:
            self.save(named.module)
            self.save(named.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{named.module}\n{named.name}\n".encode())

    dispatch[Named] = save_named


class Dialect:
    """What torch.save asks of a pickle module."""

    Pickler = Pickler

    @staticmethod
    def dump(value, file, protocol):
        Pickler(file, protocol).dump(value)


def write(path, content, new=True, protocol=2):
    torch.save(
        content, path, pickle_module=Dialect, pickle_protocol=protocol,
        _use_new_zipfile_serialization=new,
    )  # fmt: skip
    return path


def attacks(marker):
    """Payloads by name. Those of `LIVE` create the marker wherever pickles are believed."""
    code, shell, get = (
        f"open({str(marker)!r}, 'w').close()",
        f"touch '{marker}'",
        "builtins:getattr",
    )
    inner = write(io.BytesIO(), Calls("builtins:eval", code)).getvalue()
    imported = Calls("importlib:import_module", "os")
    rebuild = Named("torch._utils:_rebuild_tensor_v2")
    return {
        "os.system": Calls("os:system", shell),
        "posix.system": Calls("posix:system", shell),
        "subprocess": Calls("subprocess:call", ["touch", str(marker)]),
        "eval": Calls("builtins:eval", code),
        "exec": Calls("builtins:exec", code),
        "eval of Python 2": Calls("__builtin__:eval", code),
        "importlib": Calls(Calls(get, imported, "system"), shell),
        "globals": Calls(
            Calls(get, Calls(get, Calls(get, rebuild, "__globals__"), "get"), "__call__"), "torch"
        ),
        "torch.load": Calls("torch.storage:_load_from_bytes", inner),
        "pickle": Calls("pickle:loads", pickle.dumps(Eval(code))),
        "subclass": Calls(
            "torch._tensor:_rebuild_from_type_v2", Named("os:system"), Named("os:x"), (shell,), {}
        ),
        "in a parameter": Calls(
            "torch._utils:_rebuild_parameter", Calls("builtins:eval", code), True, {}
        ),
        "dotted": Calls("torch:os.system", shell),
        "dotted, of a known name": Calls("torch._utils:_rebuild_tensor_v2.__globals__.get", "os"),
        "lazy module": Calls("torch:_inductor", shell),
        "dill": Calls("dill._dill:_create_function", Calls("dill._dill:_create_code", code), {}),
        "state": Calls("collections:OrderedDict", state={"items": Named("os:system"), "k": shell}),
        "slots": Calls("collections:OrderedDict", state=(None, {"keys": Named("os:system")})),
        "state of a stranger": Calls("os:x", shell, state={"__class__": Named("os:system")}),
        "items": Calls("os:x", items=[1, shell], entries=[(shell, Named("os:system"))]),
        "key": {Calls("builtins:eval", code): 1},
    }


class Eval:
    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


NAMES = list(attacks("marker"))
LIVE = [
    "os.system", "posix.system", "subprocess", "eval", "exec", "eval of Python 2", "importlib",
    "torch.load", "pickle", "in a parameter",
]  # fmt: skip
WATCHED = {"os.system", "subprocess.Popen", "exec", "compile", "import", "pickle.find_class"}
watching = []


@pytest.fixture(scope="module", autouse=True)
def hook():
    """Note what Python itself says is being done; a hook cannot be taken off again."""
    sys.addaudithook(lambda event, args: [seen.append(event) for seen in watching[-1:]])


@pytest.fixture
def seen():
    watching.append([])
    yield watching[-1]
    watching.clear()


@pytest.mark.parametrize(("new", "protocol"), FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_and_the_tensors_are_kept(name, new, protocol, tmp_path, request):
    payload = attacks(tmp_path / "marker")[name]
    content = {
        "model": collections.OrderedDict(WEIGHTS, x=payload, y=[{"z": (payload,)}]),
        "args": payload,
        "epoch": 3,
    }
    path = write(tmp_path / "file.pt", content, new, protocol)
    before, seen = set(sys.modules), request.getfixturevalue("seen")
    found = checkpoints.read(path)
    watching.clear()
    assert not WATCHED & set(seen)
    assert not (tmp_path / "marker").exists() and set(sys.modules) == before
    assert list(found) == list(WEIGHTS)
    assert all(torch.equal(found[key], value) for key, value in WEIGHTS.items())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", NAMES)
def test_a_bare_pickle_is_refused_and_does_not_run(name, protocol, tmp_path):
    path = tmp_path / "file.pkl"
    with path.open("wb") as file:
        Pickler(file, protocol).dump(attacks(tmp_path / "marker")[name])
    with pytest.raises(ValueError, match="is damaged, or no checkpoint: ") as caught:
        checkpoints.read(path)
    assert not (tmp_path / "marker").exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LIVE)
def test_the_payloads_are_alive(name, tmp_path):
    path = write(tmp_path / "file.pt", {"args": attacks(tmp_path / "marker")[name]})
    with contextlib.suppress(TypeError, AttributeError):  # after it ran
        torch.load(path, weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "target",
    ["torch._utils\n_rebuild_tensor_v2", "torch._utils\n_rebuild_parameter", "torch\nSize",
     "collections\nOrderedDict", "torch\nfloat32", "torch\nFloatStorage", "os\nsystem"],
)  # fmt: skip
@pytest.mark.parametrize(
    "state", [b"}X\x04\x00\x00\x00nameK\x01s", b"N}X\x04\x00\x00\x00nameK\x01s\x86"]
)
def test_a_pickle_cannot_set_attributes_of_what_names_stand_for(target, state):
    raw = b"\x80\x02c" + target.encode() + b"\n" + state + b"b."
    stands = pickles.Unpickler(io.BytesIO(b"\x80\x02c" + target.encode() + b"\n.")).load()
    with contextlib.suppress(TypeError, AttributeError, ValueError):
        pickles.Unpickler(io.BytesIO(raw)).load()
    assert not hasattr(stands, "name")


def test_an_unknown_object_takes_whatever_is_done_to_it():
    inert = pickles.Inert
    assert inert(1, k=2) is inert and inert.__new__(inert) is inert
    inert.anything = 1
    inert["a"] = 1
    inert.append(1), inert.extend([1]), inert.add(1), inert.__setstate__({})
    assert not hasattr(inert, "anything") and {inert: 1}


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
    parts = [pickle.dumps(part, 2) for part in (pickles.MAGIC, pickles.PROTOCOL, {})]
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
    found = checkpoints.read(assemble(tmp_path / "f", content, new, {"0": SIX}))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [1, 4] and found["c"].shape == (0, 3)
    found["a"].zero_()  # nothing is shared
    assert found["b"].tolist() == [1, 4]


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
        checkpoints.read(path)
    assert str(caught.value).startswith(f"{path} is damaged, or no checkpoint: ")
    assert "\n" not in str(caught.value)


def test_a_place_that_would_fill_memory_is_refused():
    raw = b"\x80\x02K\x01r\xff\xff\xff\xff."
    with pytest.raises(ValueError, match="keeps an object at place 4294967295"):
        pickles.Unpickler(io.BytesIO(raw))


def test_two_descriptions_of_one_storage_are_refused(tmp_path):
    content = {"a": tensor(), "b": tensor(count=3, size=(3,), stride=(1,))}
    with pytest.raises(ValueError, match="the storage 0 is described in two ways"):
        checkpoints.read(assemble(tmp_path / "f", content, True, {"0": SIX}))


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
        (archive(tmp_path / "x", {"a.npy": b"1"}), "a zip archive without a data.pkl is no"),
        (bomb, "its archive is compressed"),
        (big, "in the order of a big-endian machine"),
    ]:
        with pytest.raises(ValueError, match=said):
            checkpoints.read(path)


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
    found = checkpoints.read(path)
    assert list(found) == list(content)
    for key, value in content.items():
        assert found[key].dtype == value.dtype and found[key].shape == value.shape
        same = (
            found[key] == value if found[key].is_complex() else found[key].float() == value.float()
        )
        assert same.all(), key
        assert not found[key].requires_grad and type(found[key]) is torch.Tensor
