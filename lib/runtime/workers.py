"""What runs on a worker of a Dask cluster: calls, and what is told of the worker."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lib.runtime import fingerprint, provenance
from lib.runtime.devices import choose_here, in_one_thread
from lib.runtime.parcels import Parcel, unpack
from lib.runtime.rules import ParameterError


@cache
def about() -> dict[str, str]:
    """Return what must be the same here and on a worker: versions, and a hash of this code."""
    files = sorted(fingerprint.HERE.rglob("*.py"))
    texts = {
        path.relative_to(fingerprint.HERE).as_posix(): path.read_text("utf-8") for path in files
    }
    code = fingerprint.digest(texts)
    versions = provenance.versions()
    minor = ".".join(versions["python"].split(".")[:2])
    return {**versions, "python": minor, "code of lib": code[:12]}


def about_worker(dask_worker: Any) -> dict[str, str] | str:
    """Tell about a worker; of what it lacks, in words."""
    threads = dask_worker.state.nthreads
    return about() if threads == 1 else f"has {threads} threads; start it with --nthreads 1"


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Say in what two differ, or nothing."""
    for name, value in ours.items():
        if theirs.get(name) != value:
            return f"has {name} {theirs.get(name)}, and this process {value}; give both the same"
    return ""


def perform(
    content: bytes, device: str, ours: Mapping[str, str], topic: str, number: int, *sent: Parcel
) -> Parcel:
    """Make a call on a worker, and return what it has returned.

    content: the call, as of `lib.runtime.parcels.pack_call`. device: where it computes. ours: what
    `about` says where the chapter runs. topic: to which it tells at once what the function yields,
    or "". number: of the call. sent: the values that travelled by themselves.

    Raises as the function does, and ParameterError where the worker has other code or versions.
    """
    from distributed import get_worker

    worker = get_worker()
    fault = difference(ours, about())  # it may have come later than the check
    if fault:
        raise ParameterError(f"cluster: the worker {worker.address} {fault}")
    function, call = unpack(content, [value.value for value in sent])
    tell = (lambda part, told: worker.log_event(topic, (number, part, told))) if topic else None
    made = {"function": function, "call": call, "tell": tell}
    device = str(choose_here(device))
    return Parcel(in_one_thread(_call, made) if device == "cpu" else _call(**made), device)


def _call(function, call, tell):
    """Make a call; tell what it yields at once, where it is asked for."""
    found = function(**call)
    if tell is None:
        return found
    parts = []
    for part, told in enumerate(found):
        tell(part, told)
        parts.append(told)
    return parts
