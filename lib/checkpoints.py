"""Reading the weights in a file, and putting them into a network whole or not at all."""

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from lib import archives, pickles

ENTRIES = ("model", "state_dict", "model_state_dict", "net", "weights")
"""Where the weights stand in a file that holds more than them."""
WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What wrappers of a network put before every name of its weights."""
ATTACKER = "attacker."
NORMALISER = ("normalizer.new_mean", "normalizer.new_std")


def read(path, *, entry=None):
    """Read the weights in a file, without running anything from it.

    path: a file of torch.save in either of its formats, whatever it was pickled with, or of
    safetensors. The published robust checkpoints (Salman et al., 2020) are files of dill. entry:
    the name of the entry with the weights, needed only where a file has several that differ.

    Returns {name: tensor on the CPU}. Names lose the prefixes of wrappers (module., model.);
    the second copy that the robust checkpoints keep under `attacker.` must be the same and is
    dropped; `normalizer.new_mean` and `normalizer.new_std` stay. All other objects in the file
    are passed over.

    Raises FileNotFoundError where there is no such file, and ValueError where it is damaged, of
    another format or without weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or no file; name a checkpoint to read")
    with path.open("rb") as file:
        start = file.read(512)
        _check_start(path, start)
        file.seek(0)
        try:
            if start[8:9] == b"{":
                return _unwrapped(safetensors.torch.load_file(path), lambda tensor: tensor)
            return _weights(*archives.load(file), entry)
        except Unfit as error:
            said = str(error)
        except SafetensorError as error:
            said = f"is damaged, or no file of safetensors: {error}"
        except Exception as error:  # a pickle can make the reader raise whatever there is
            said = f"is damaged, or no checkpoint: {_line(error)}"
    raise ValueError(f"{path} {said}")


def load_into(model, path, *, entry=None):
    """Set every weight of a network from a file, or none.

    model: as `lib.models.build` makes it; the file names the weights as the network does, or as
    torchvision or timm do. path, entry: as in `read`. A normaliser in the file replaces the
    network's own.

    Returns the model. Raises ValueError where a weight is missing, unknown, or of another shape
    or kind of number, and where the classes are not as many; the first that differs is named.
    Counters of batches, which PyTorch did not save before 0.4.1, may be missing. Else as `read`.
    """
    found = read(path, entry=entry)
    normaliser = [found.pop(name) for name in NORMALISER if name in found]
    ours, names = model.state_dict(), model.names
    if not names or len(found.keys() & ours.keys()) > len(found.keys() & names.keys()):
        names = {name: name for name in ours}
    _check(path, found, {name: ours[key] for name, key in names.items()}, names)
    if len(normaliser) == 1:
        raise ValueError(f"{path} has only one of {' and '.join(NORMALISER)}; it needs both")
    if normaliser:
        model.normalise.set(*normaliser)
    with torch.no_grad():
        for name, key in names.items():
            ours[key].copy_(found.get(name, torch.tensor(0)))
    return model


class Unfit(Exception):
    """What is wrong with a file, without its name."""


def _check_start(path, start):
    """Say plainly of files that are no checkpoint at all what they are."""
    if not start:
        raise ValueError(f"{path} is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a pointer of Git LFS, not the file; fetch it with git lfs pull"
        )
    if start.lstrip()[:1] == b"<":
        raise ValueError(f"{path} is a web page, not a checkpoint; download the file itself")


def _weights(content, load, entry):
    """Choose the entry of a file's content that holds weights, and return them unwrapped."""
    if not isinstance(content, dict):
        raise Unfit("holds no weights by name; save the state_dict of the network")
    entries = [name for name in ENTRIES if _has_weights(content.get(name))]
    if entry is not None:
        if not _has_weights(content.get(entry)):
            raise Unfit(f"holds no weights under {entry!r}; choose among {_few(content)}")
        entries = [entry]
    if not entries:
        if not _has_weights(content):
            raise Unfit(f"holds no weights; it has {_few(content)}")
        return _unwrapped(content, load)
    first = _unwrapped(content[entries[0]], load)
    for other in entries[1:]:
        second = _unwrapped(content[other], load)
        names = {**first, **second}
        differs = [n for n in names if n not in first or n not in second]
        differs += [n for n in names if n not in differs and not first[n].equal(second[n])]
        if differs:
            raise Unfit(
                f"holds weights under {entries[0]!r} and under {other!r}, which differ in "
                f"{differs[0]}; choose with entry={entries[0]!r}"
            )
    return first


def _has_weights(value):
    """Tell whether a value is a dict with tensors by name."""
    return isinstance(value, dict) and any(
        isinstance(name, str) and isinstance(weight, pickles.Stored)
        for name, weight in value.items()
    )


def _unwrapped(content, load):
    """Strip the wrappers' prefixes from the names, check and drop the attacker's copy, and load."""
    tensors = pickles.Stored | torch.Tensor
    kept = {n: v for n, v in content.items() if isinstance(n, str) and isinstance(v, tensors)}
    kept = _stripped(kept)
    normaliser = {name: kept.pop(name) for name in NORMALISER if name in kept}
    copy = {n.removeprefix(ATTACKER): kept.pop(n) for n in list(kept) if n.startswith(ATTACKER)}
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
    while weights:
        prefix = next((w for w in WRAPPERS if all(name.startswith(w) for name in weights)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    return weights


def _check(path, found, wanted, names):
    """Raise ValueError with the first difference between a file's weights and a network's."""
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    unknown = [n for n in found if n not in wanted]
    if missing or unknown:
        first = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the network lacks"
        raise ValueError(
            f"{path} does not fit the network: it {first} (in all {len(missing)} missing, "
            f"{len(unknown)} unknown); build the architecture it was saved from"
        )
    for name, weight in found.items():
        have, want = tuple(weight.shape), tuple(wanted[name].shape)
        if have != want and names[name].startswith("head.") and have[1:] == want[1:]:
            raise ValueError(
                f"{path} has {have[0]} classes and the network {want[0]} ({name}); "
                f"build it with num_classes={have[0]}"
            )
        if have != want:
            raise ValueError(
                f"{path} does not fit the network: {name} has shape {have}, not {want}; "
                "build the architecture it was saved from"
            )
        if weight.is_floating_point() != wanted[name].is_floating_point():
            raise ValueError(
                f"{path} does not fit the network: {name} is {weight.dtype}, not "
                f"{wanted[name].dtype}; save the weights as the network holds them"
            )


def _few(content):
    """Name the first entries of a dict."""
    return ", ".join(repr(name) for name in list(content)[:5]) or "nothing"


def _line(error):
    """Return the first line of an error's message, or its kind."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
