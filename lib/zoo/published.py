"""Source networks from files: the published robust ImageNet models by name, or one's own."""

import contextlib
import hashlib
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from lib.constraint import ALLOWED, NATURAL, Constraint
from lib.runtime import files
from lib.zoo import timm_nets, torchvision_nets
from lib.zoo.contents import located
from lib.zoo.models import build
from lib.zoo.names import divide, locate
from lib.zoo.weights import first_line, load_into, read

REPOSITORY = "madrylab/robust-imagenet-models"
"""On the Hugging Face hub: the models of Salman et al. (2020), under the MIT licence."""
FOLDER = files.DATA / "checkpoints"
"""Where a file that was fetched by hand is looked for first."""
ARCHITECTURES = {
    "resnet18": "resnet18", "resnet50": "resnet50", "resnext50_32x4d": "resnext50_32x4d",
    "wide_resnet50_2": "wide_resnet50_2", "wide_resnet50_4": "wide_resnet50_4",
    "densenet": "densenet161", "mnasnet": "mnasnet1_0", "mobilenet": "mobilenet_v2",
    "shufflenet": "shufflenet_v2_x1_0", "vgg16_bn": "vgg16_bn",
}  # fmt: skip
"""What torchvision calls the architectures that the files are named after."""
MOST_COMMAS = 20
"""In a path, at most."""
RADII = {
    "l2": ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5"),
    "linf": ("0.5", "1.0", "2.0", "4.0", "8.0"),  # of 255
}


def published() -> dict[str, tuple[str, Constraint]]:
    """List the published models: {name: (architecture, constraint)}.

    All have 1000 classes and expect 224 pixels; architectures as in `lib.zoo.models.build`.
    """
    models = {}
    for name, arch in ARCHITECTURES.items():
        all_radii = name.startswith(("resnet", "wide"))
        radii = [("l2", eps) for eps in (RADII["l2"] if all_radii else ("0", "3"))]
        if all_radii and name != "wide_resnet50_4":
            radii += [("linf", eps) for eps in RADII["linf"]]
        for norm, eps in radii:
            radius = float(eps) / (255 if norm == "linf" else 1)
            constraint = Constraint(norm, radius) if radius else NATURAL
            models[f"{name}_{norm}_eps{eps}"] = (f"torchvision:{arch}", constraint)
    return models


def network(source: str) -> tuple[nn.Module, Constraint | None, dict]:
    """Return a network with all its weights from a file.

    source: the name of a published model such as "resnet50_l2_eps3", taken from
    `data/checkpoints` or downloaded; or "ARCH:PATH", an architecture as in `lib.zoo.models.build`
    and a file, or an entry of it, as in `lib.zoo.weights.read`.

    Returns (network in eval mode, constraint, record). The constraint is None for a file that is
    not named like a published one. The record has arch, file, its entry and sha256, mean and std of
    the normalised pixels, and whether these are "stated" by the architecture's name, "in the file"
    or "assumed" (normalisation); where timm's other than ImageNet's are assumed, a warning says so.
    Raises ValueError for text of another form, and as `build`, `load_into` and `download` do.
    """
    models = published()
    arch, path = (models[source][0], download(source)) if source in models else _divided(source)
    locate(arch)
    file, entry = located(path)
    _, constraint = models.get(file.stem, (None, None))
    model, (_, stated) = build(arch, 2), divide(arch)
    built = model.normalise.mean
    try:
        load_into(model, path, any_classes=True)
    except ValueError as error:
        near = _near(arch, path)
        raise ValueError(f"{error}{near and f'; did you mean {near}:{path}?'}") from None
    record = {"arch": arch, "file": file.name, "entry": entry, "sha256": _sha256(file)}
    mean, std = (v.flatten().tolist() for v in (model.normalise.mean, model.normalise.std))
    said = "stated" if stated.normalisation else "assumed"
    if model.normalise.mean is not built:
        if said == "stated" and not torch.allclose(model.normalise.mean, built):
            raise ValueError(f"{path} normalises by mean {mean} itself; leave it out of {arch}")
        said = "in the file"
    untagged = locate(arch)[0] == "timm" and "." not in arch
    if said == "assumed" and untagged and abs(mean[0] - torchvision_nets.MEAN[0]) > 1e-3:
        warnings.warn(
            f"{file.name} does not say how its images were normalised; assumed is timm's mean "
            f"{mean[0]:.3g} and deviation {std[0]:.3g}; to state another, write {arch}@imagenet or "
            f"{arch}@MEAN/STD before the path",
            stacklevel=2,
        )
    return model.eval(), constraint, {**record, "mean": mean, "std": std, "normalisation": said}


def _near(arch, path):
    """Name an architecture that takes a file which another of its name, or size, does not."""
    name, at, stated = arch.partition("@")
    bare = name.rpartition(":")[2]
    others = [f"{other}{at}{stated}" for other in (bare, f"torchvision:{bare}", f"timm:{bare}")]
    with contextlib.suppress(ValueError):
        size = timm_nets.size_of(build(name, 2), read(path))
        others = [f"{arch}@{size}"] if size else others
    for other in others:
        with contextlib.suppress(ValueError, ImportError):
            load_into(build(other, 2), path, any_classes=True)
            return other
    return ""


def constrained(
    names: Iterable[str], *, device: str | torch.device = "cpu", image_size: int = 0
) -> list[tuple[Constraint, nn.Module, dict]]:
    """Return networks from files, each with the constraint that it was trained under.

    names: each a network as in `network`. Its constraint is known of a published model and of a
    file that is named like one; before any other it is written, with "=" between them, as in
    "natural=resnet50:mine.pt", "l2 3=…" (ε in pixels of [0, 1]) or "linf 0.0157=…". image_size:
    pixels of a side of the images that they will see; 0 tells nothing.

    Returns (constraint, network on the device in eval mode, record) for each. Raises ValueError
    where a constraint is not known, for a network that takes another size only, and as `network`
    does.
    """
    networks = []
    for name in names:
        written, source = _parsed(name)
        model, known, record = network(source)
        own = getattr(model, "image_size", None)
        if image_size and own and own != image_size:
            raise ValueError(
                f"{source} takes images of {own} pixels a side only, not {image_size}; set "
                f"image_size to {own}"
            )
        constraint = written or known
        if constraint is None:
            raise ValueError(
                f"the constraint that {source} was trained under is not known; write it before, as "
                f"in natural={source}; allowed are {ALLOWED}"
            )
        networks.append((constraint, model.to(device), record))
    return networks


def listed(text: str) -> list[str]:
    """List the names of networks in a text that separates them by commas.

    A path may hold commas, too, where a file of that name is there.
    """
    names, parts = [], text.split(",")
    while parts:
        joined = (",".join(parts[:end]) for end in range(min(len(parts), MOST_COMMAS), 1, -1))
        name = next((name for name in joined if _is_file(name)), parts[0])
        names.append(name.strip())
        parts = parts[name.count(",") + 1 :]
    return [name for name in names if name]


def check(name: str) -> None:
    """Raise ValueError unless a name is one that `constrained` takes, its file there."""
    _, source = _parsed(name)
    if source not in published():
        check_file(source)


def check_file(source: str) -> None:
    """Raise ValueError unless a text is ARCH:PATH of a known architecture and a file there is."""
    arch, path = _divided(source)
    locate(arch)
    file, _ = located(path)
    if not file.is_file():
        raise ValueError(f"there is no file {file} (looked in {Path.cwd()}); name a checkpoint")


def _is_file(name):
    """Tell whether a name with commas is that of a file, and of an entry without."""
    try:
        check(name)
        return "," not in located(_divided(_parsed(name)[1])[1])[1]
    except (ValueError, ImportError, OSError):
        return False


def _parsed(name):
    """Divide CONSTRAINT=SOURCE, or SOURCE alone, into (Constraint or None, source)."""
    written, equals, source = name.partition("=")
    if not equals or ":" in written:  # a path may have "=" in it, too
        return None, name.strip()
    return Constraint.parse(written.strip()), source.strip()


def download(name: str) -> Path:
    """Return the path of a published model's file, fetched from the hub where it is not here.

    A download that broke off is resumed, its progress is shown, and its sha256 is compared with
    the hub's. A file in `data/checkpoints` comes first.

    Raises ValueError for a name that is not published or a file of another sha256, and OSError
    where the hub cannot be reached.
    """
    if name not in published():
        raise ValueError(f"{name!r} is not published; lib.zoo.published.published() lists what is")
    here = FOLDER / f"{name}.ckpt"
    if here.is_file():
        return here
    try:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(REPOSITORY, here.name))
    except Exception as error:  # the kinds differ between versions of the hub's client
        raise OSError(
            f"{name} cannot be downloaded ({first_line(error)}); put {here.name} from {REPOSITORY} "
            f"into {FOLDER}"
        ) from None
    # The hub's store names a large file by its sha256.
    expected = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", expected) and _sha256(path) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is not {expected}; delete it, try again")
    return path


def _divided(source):
    """Divide ARCH:PATH, where the architecture may begin with its library."""
    parts = re.fullmatch(r"((?:timm:|torchvision:)?[^:/\\@]+(?:@[^:@]+)*):(.+)", source)
    if parts is None or parts[1] in ("timm", "torchvision"):
        raise ValueError(
            f"source is {source!r}; allowed are ARCH:PATH and the published models, such as "
            "resnet50_l2_eps3"
        )
    return parts[1], Path(parts[2]).expanduser()


def _sha256(path):
    """Hash a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
