"""Reading the weights in a file, and putting them into a network whole or not at all."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.zoo import choices
from lib.zoo.contents import Tensors, Unfit, located, tensors


def read(path: str | Path) -> dict[str, Tensor]:
    """Read the weights in a file, without running anything from it.

    path: a file of torch.save in either of its formats, whatever it was pickled with, or of
    safetensors, or the index of several. Where it holds several networks, PATH#ENTRY says which:
    the key of an entry, or what stands before the names of its weights, with a dot between two.

    Returns {name: tensor on the CPU}; tensors that share memory in the file share it here. Names
    lose the prefixes of wrappers (module., model., …) that all have. The second copy that the
    published robust checkpoints (Salman et al., 2020) keep under `attacker.` must be the same and
    is dropped. What a wrapper normalises by comes last, as `normalizer.new_mean` and
    `normalizer.new_std`. All other objects in the file are passed over.

    Raises FileNotFoundError where there is no such file, and ValueError where it is damaged, of
    another format, without weights or the entry, or holds numbers that are not finite, or several
    networks that differ.
    """
    with _opened(path) as (found, chosen, start):
        groups = choices.grouped(chosen, choices.wrapped(chosen, start))
        prefix = max(groups, key=lambda p: len(groups[p]))
        normaliser = choices.normaliser(found, groups[prefix], prefix)
        weights = choices.loaded(groups[prefix])
        large = {p: group for p, group in groups.items() if 2 * len(group) >= len(weights)}
        choices.check_alone(weights, prefix, large)
    return weights | normaliser


def load_into(model: nn.Module, path: str | Path, *, any_classes: bool = False) -> nn.Module:
    """Set every weight of a network from a file, or none.

    model: as `lib.zoo.models.build` makes it. path: as in `read`; the file names the weights as the
    network does, or as torchvision or timm do, with anything before all names. A normaliser in it
    replaces the network's own. Its head may have another name where nothing else stands beside
    the network. any_classes: replace the head by one of as many classes as the file has.

    Returns the model. Raises ValueError where a weight is missing, unknown, or of another shape
    or kind of number, and where the classes are not as many; the first that differs is named.
    Counters of batches, which PyTorch did not save before 0.4.1, may be missing, or of any kind.
    Else as `read`.
    """
    with _opened(path) as (found, chosen, start):
        names, prefix, groups = choices.of_network(chosen, start, model)
        normaliser = choices.normaliser(found, groups[prefix], prefix, names)
        weights = choices.loaded(groups[prefix])
        head, problem = choices.look_beside(chosen, prefix, groups, weights, names)
        weights = _without_constants(weights | head, model, names)
        layer = _resized(model.head, weights, names) if any_classes else model.head
        wanted = model.state_dict() | layer.state_dict(prefix="head.")
        problem = _difference(weights, wanted, names) or problem
        if problem:
            raise Unfit(problem)
        choices.check_alone(weights, prefix, groups)
        if normaliser:  # it, too, may be refused; from here on nothing is
            model.normalise.set(*normaliser.values())
    model.head = layer if layer is model.head else layer.to_empty(device=model.head.weight.device)
    ours = model.state_dict()
    with torch.no_grad():
        for name, key in names.items():
            weight = weights.get(name, torch.tensor(0))
            ours[key].copy_(_count(weight) if choices.COUNTER in name else weight)
    return model


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Tensors, Tensors, int]]:
    """Open a file: (its tensors, those of the entry, where their places go on behind the entry).

    What is wrong, here or with what is read, becomes a ValueError of one line that names the file.
    """
    path, entry = located(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or no file; name a checkpoint to read")
    with contextlib.ExitStack() as opened:
        try:
            found = tensors(path, opened)
            start = f"{choices.label(entry)}." if entry else ""
            chosen = {p: load for p, load in found.items() if choices.label(p).startswith(start)}
            if not chosen:
                starts = dict.fromkeys(re.split("[./]", place)[0] for place in found)
                raise Unfit(f"has no entry {entry!r}; it has {', '.join([*starts][:8])}")
            yield found, chosen, len(start)
            return
        except Unfit as error:
            problem = str(error)
        except Exception as error:  # a pickle can make the reader raise whatever there is
            problem = f"is damaged, or no checkpoint: {first_line(error)}"
    raise ValueError(f"{path} {problem}")


def _without_constants(weights, model, names):
    """Leave out what the architecture decides, which some files hold and networks do not save."""
    buffers = dict(model.named_buffers())

    def is_constant(name):
        own = buffers.get(name, buffers.get(f"body.{name}"))
        return name not in names and own is not None and own.shape == weights[name].shape

    return {name: weight for name, weight in weights.items() if not is_constant(name)}


def _count(weight):
    """Return a counter of any kind, which may have run out of numbers, as one that can be set."""
    return weight.double().nan_to_num(0, 0, 0).flatten()[:1].sum()


def _resized(head, weights, names):
    """Return a layer without memory like a head, for as many classes as there are weights of."""
    weight = next((weights.get(n) for n, key in names.items() if key == "head.weight"), None)
    if weight is None or weight.shape[1:] != (head.in_features,) or len(weight) < 2:
        return head
    return nn.Linear(head.in_features, len(weight), device="meta")


def _difference(weights, wanted, names):
    """Describe the first difference between a file's weights and a network's, or return None.

    names: from the file's names to those of what is wanted.
    """
    missing = [n for n in names if n not in weights and choices.COUNTER not in n]
    unknown = [n for n in weights if n not in names]
    no_fit, advice = "does not fit the network:", "build the architecture it was saved from"
    if missing or unknown:
        first = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the network lacks"
        counts = f"in all {len(missing)} missing, {len(unknown)} unknown"
        return f"{no_fit} it {first} ({counts}); {advice}"
    for name in (n for n in names if choices.COUNTER not in n):
        weight, own = weights[name], wanted[names[name]]
        have, want = tuple(weight.shape), tuple(own.shape)
        in_head = names[name].startswith("head.") and have[1:] == want[1:]
        if have != want and in_head and have[0] > 1:
            advice = f"build it with num_classes={have[0]}"
            return f"has {have[0]} classes and the network {want[0]} ({name}); {advice}"
        if have != want:
            return f"{no_fit} {name} has shape {have}, not {want}; {advice}"
        if weight.is_floating_point() != own.is_floating_point():
            advice = "save the weights as the network holds them"
            return f"{no_fit} {name} is {weight.dtype}, not {own.dtype}; {advice}"
    return None
