"""Malicious and damaged files; a malicious one would create a marker file if anything ran."""

import collections
import contextlib
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from forge import Calls, Named, Pickler, write

from lib.zoo import pickles, weights

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}
# In protocol 0 the place of a tensor is text, and torch.save's files cannot be read by anyone.
FORMATS = [(True, 2), (True, 4), (False, 1), (False, 2), (False, 3), (False, 5)]


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
    found = weights.read(path)
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
        weights.read(path)
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


def name(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


STORED = name("0")


def tensor(size=b"K\x02\x85", stride=b"K\x01\x85", key=STORED, count=b"K\x02"):
    """A tensor as a pickle describes it, each part as operations."""
    storage = b"(" + name("storage") + b"ctorch\nFloatStorage\n" + key + name("cpu") + count
    view = b"(" + storage + b"tQK\0" + size + stride + b"\x89ccollections\nOrderedDict\n)Rt"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + view + b"R"


DOUBLED = b")" + b"2\x86" * 100  # tuples in tuples: 2^100 leaves for whoever walks over them


def hostile(scale):
    """Pickles that cost whoever believes them minutes, or all memory, or the process."""
    huge = b"\x8b" + struct.pack("<i", 24 * scale) + b"\x7f" * 24 * scale
    many = b"N" * scale
    again = b"0cx\ny\nh\0R" * scale
    return {
        "doubled key": b"}" + DOUBLED + b"Ns",
        "doubled key of an ordered dict": b"ccollections\nOrderedDict\n]("
        + DOUBLED
        + b"N\x86e\x85R",
        "doubled element of a set": b"\x8f(" + DOUBLED + b"\x90",
        "doubled element of a frozen set": b"(" + DOUBLED + b"\x91",
        "doubled size": b"}" + name("a") + tensor(size=DOUBLED) + b"s",
        "doubled stride": b"}" + name("a") + tensor(stride=DOUBLED) + b"s",
        "doubled key of a storage": b"}" + name("a") + tensor(key=DOUBLED) + b"s",
        "doubled id": DOUBLED + b"Q",
        "doubled function": DOUBLED + b")R",
        "doubled state": b"}" + DOUBLED + b"b",
        "huge size": b"}" + name("a") + tensor(size=huge + b"\x85") + b"s",
        "huge count": b"}" + name("a") + tensor(count=huge) + b"s",
        "huge key": b"}" + huge + b"q\0Ns" + b"h\0Ns" * scale,
        "long name": b"}" + name("a" * scale) + b"Ns",
        "nothing, again and again": b"N0" * 50 * scale,
        "a long list as argument": b"](" + many + b"e\x85q\0" + again,
        "a long shape": b"](" + many + b"e\x85q\0" + again.replace(b"x\ny", b"torch\nSize"),
        "long arguments": b"(" + many + b"tq\0" + again,
        "deep tuples": b")" + b"\x85" * scale,
        "deep tuples as a key": b"}" + b")" + b"\x85" * scale + b"Ns",
        "deep lists": b"]" * scale + b"a" * (scale - 1),
        "deep dicts": (b"}" + name("a")) * scale + b"N" + b"s" * scale,
        "a dict that holds itself": b"}q\0" + b"".join(name(str(i)) + b"h\0s" for i in range(300)),
        "a place out of reach": b"K\x01r\xff\xff\xff\xff",
        "bytes that are not there": b"\x8e" + struct.pack("<Q", 2**40),
        "an array that is not there": b"\x96" + struct.pack("<Q", 2**34),
        "a text that is not there": b"\x8d" + struct.pack("<Q", 2**34),
    }


READER = """
import resource, sys
from lib.zoo import weights
def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    before = memory()
    try:
        weights.read(path)
        said = "read"
    except ValueError as error:
        said = str(error).replace(chr(10), "<new line>")
    print(memory() - before, said)
"""


@pytest.mark.parametrize("scale", [20_000, pytest.param(500_000, marks=pytest.mark.long)])
def test_no_pickle_makes_the_reader_hang_grow_or_fall(scale, tmp_path):
    paths = []
    for number, raw in enumerate(hostile(scale).values()):
        paths.append(tmp_path / f"{number}.pt")
        with zipfile.ZipFile(paths[-1], "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x04" + raw + b".")
    paths.append(tmp_path / "views.pt")
    shared = torch.zeros(1_000_000)
    torch.save({str(i): shared[i:] for i in range(1500)}, paths[-1])
    call = [sys.executable, "-c", READER, *map(str, paths)]
    out = subprocess.run(call, capture_output=True, text=True, timeout=250, cwd=ROOT)
    assert out.returncode == 0, out.stderr[-500:]
    unit = 1 if sys.platform == "darwin" else 1024
    for path, line in zip(paths, out.stdout.splitlines(), strict=True):
        grown, said = line.split(" ", 1)
        assert said.startswith(f"{path} ") and len(said) < 400 and "<new line>" not in said
        assert int(grown) * unit < 1.5e9, path
