"""Reading the weights in a file, and putting them into a network whole or not at all."""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from lib.zoo import archives, pickles

ENTRIES = ("model", "state_dict", "model_state_dict", "net", "weights")
"""Where the weights stand in a file that holds more than them."""
WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What wrappers of a network put before every name of its weights."""
NORMALISER = ("normalizer.new_mean", "normalizer.new_std")


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights in a file, without running anything from it.

    path: a file of torch.save in either of its formats, whatever it was pickled with, or of
    safetensors. The published robust checkpoints (Salman et al., 2020) are files of dill.

    Returns {name: tensor on the CPU}. Names lose the prefixes of wrappers (module., model.);
    the second copy that the robust checkpoints keep under `attacker.` must be the same and is
    dropped; `normalizer.new_mean` and `normalizer.new_std` stay. All other objects in the file
    are passed over.

    Raises FileNotFoundError where there is no such file, and ValueError where it is damaged, of
    another format, without weights, or has several that differ.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or no file; name a checkpoint to read")
    with path.open("rb") as file:
        try:
            if _is_safetensors(file):
                return _unwrapped(safetensors.torch.load_file(path), lambda tensor: tensor)
            return _weights(*archives.load(file))
        except Unfit as error:
            problem = str(error)
        except Exception as error:  # a pickle can make the reader raise whatever there is
            problem = f"is damaged, or no checkpoint: {first_line(error)}"
    raise ValueError(f"{path} {problem}")


def load_into(model: nn.Module, path: str | Path) -> nn.Module:
    """Set every weight of a network from a file, or none.

    model: as `lib.zoo.models.build` makes it; the file names the weights as the network does, or
    as torchvision or timm do. path: as in `read`. A normaliser in the file replaces the network's
    own.

    Returns the model. Raises ValueError where a weight is missing, unknown, or of another shape
    or kind of number, and where the classes are not as many; the first that differs is named.
    Counters of batches, which PyTorch did not save before 0.4.1, may be missing. Else as `read`.
    """
    weights = read(path)
    normaliser = [weights.pop(name) for name in NORMALISER if name in weights]
    ours, names = model.state_dict(), model.names
    if not names or len(weights.keys() & ours.keys()) > len(weights.keys() & names.keys()):
        names = {name: name for name in ours}
    problem = _difference(weights, ours, names)
    if len(normaliser) == 1:
        problem = f"has only one of {' and '.join(NORMALISER)}; it needs both"
    if problem:
        raise ValueError(f"{path} {problem}")
    if normaliser:
        model.normalise.set(*normaliser)
    with torch.no_grad():
        for name, key in names.items():
            ours[key].copy_(weights.get(name, torch.tensor(0)))
    return model


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


class Unfit(Exception):
    """What is wrong with a file, without its name."""


def _is_safetensors(file):
    """Tell by its start whether a file is one of safetensors; say plainly what is none at all."""
    start = file.read(512)
    file.seek(0)
    if not start:
        raise Unfit("is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise Unfit("is a pointer of Git LFS, not the file; fetch it with git lfs pull")
    if start.lstrip()[:1] == b"<":
        raise Unfit("is a web page, not a checkpoint; download the file itself")
    return start[8:9] == b"{"


def _weights(content, load):
    """Choose the entry of a file's content that holds weights, and return them unwrapped."""
    if not isinstance(content, dict):
        raise Unfit("holds no weights by name; save the state_dict of the network")
    entries = [name for name in ENTRIES if _has_weights(content.get(name))]
    if not entries and not _has_weights(content):
        has = ", ".join(repr(name) for name in list(content)[:5]) or "nothing"
        raise Unfit(f"holds no weights; it has {has}")
    weights = _unwrapped(content[entries[0]] if entries else content, load)
    for other in entries[1:]:
        more = _unwrapped(content[other], load)
        for name in weights | more:
            if name not in weights or name not in more or not weights[name].equal(more[name]):
                raise Unfit(
                    f"holds weights under {entries[0]!r} and under {other!r}, which differ in "
                    f"{name}; save those that are meant alone"
                )
    return weights


def _has_weights(value):
    """Tell whether a value is a dict with tensors by name."""
    pairs = value.items() if isinstance(value, dict) else ()
    return any(isinstance(n, str) and isinstance(v, pickles.Stored) for n, v in pairs)


def _unwrapped(content, load):
    """Strip the wrappers' prefixes from the names, check and drop the attacker's copy, and load."""
    tensors = pickles.Stored | torch.Tensor
    kept = {n: v for n, v in content.items() if isinstance(n, str) and isinstance(v, tensors)}
    kept = _stripped(kept)
    normaliser = {name: kept.pop(name) for name in NORMALISER if name in kept}
    theirs = [name for name in kept if name.startswith("attacker.")]
    copy = {name.removeprefix("attacker."): kept.pop(name) for name in theirs}
    copy = _stripped({n: v for n, v in copy.items() if not n.startswith("normaliz")})
    kept = _stripped(kept) or copy
    weights = {name: load(weight) for name, weight in (kept | normaliser).items()}
    for name, weight in copy.items():
        if name not in kept:
            raise Unfit(f"has {name} in the attacker's copy of the weights, but not in the weights")
        if kept[name] is not weight and not weights[name].equal(load(weight)):
            raise Unfit(f"has two copies of the weights, which differ in {name}")
    return weights


def _stripped(weights):
    """Strip the prefixes that all names have in common, where they are those of wrappers."""
    for prefix in WRAPPERS:
        if weights and all(name.startswith(prefix) for name in weights):
            return _stripped({name.removeprefix(prefix): v for name, v in weights.items()})
    return weights


def _difference(weights, ours, names):
    """Describe the first difference between a file's weights and a network's, or return None.

    names: from the file's names to the network's.
    """
    missing = [n for n in names if n not in weights and not n.endswith("num_batches_tracked")]
    unknown = [n for n in weights if n not in names]
    no_fit, advice = "does not fit the network:", "build the architecture it was saved from"
    if missing or unknown:
        first = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the network lacks"
        counts = f"in all {len(missing)} missing, {len(unknown)} unknown"
        return f"{no_fit} it {first} ({counts}); {advice}"
    for name, weight in weights.items():
        own = ours[names[name]]
        have, want = tuple(weight.shape), tuple(own.shape)
        if have != want and names[name].startswith("head.") and have[1:] == want[1:]:
            advice = f"build it with num_classes={have[0]}"
            return f"has {have[0]} classes and the network {want[0]} ({name}); {advice}"
        if have != want:
            return f"{no_fit} {name} has shape {have}, not {want}; {advice}"
        if weight.is_floating_point() != own.is_floating_point():
            advice = "save the weights as the network holds them"
            return f"{no_fit} {name} is {weight.dtype}, not {own.dtype}; {advice}"
    return None
