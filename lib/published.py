"""Source networks from files: the published robust ImageNet models by name, or one's own."""

import hashlib
import re
from pathlib import Path

from lib import files
from lib.checkpoints import load_into, read
from lib.models import build, locate
from lib.parameters import listed

REPOSITORY = "madrylab/robust-imagenet-models"
"""On the Hugging Face hub: the models of Salman et al. (2020), under the MIT licence."""
FOLDER = files.DATA / "checkpoints"
"""Where a file that was fetched by hand is looked for first."""
ARCHITECTURES = {
    "resnet18": "torchvision:resnet18",
    "resnet50": "torchvision:resnet50",
    "wide_resnet50_2": "torchvision:wide_resnet50_2",
    "wide_resnet50_4": "torchvision:wide_resnet50_4",
    "densenet": "torchvision:densenet161",
    "mnasnet": "torchvision:mnasnet1_0",
    "mobilenet": "torchvision:mobilenet_v2",
    "resnext50_32x4d": "torchvision:resnext50_32x4d",
    "shufflenet": "torchvision:shufflenet_v2_x1_0",
    "vgg16_bn": "torchvision:vgg16_bn",
}
"""What `lib.models.build` calls the architectures that the files are named after."""
RADII = {
    "l2": ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5"),
    "linf": ("0.5", "1.0", "2.0", "4.0", "8.0"),  # of 255
}


def published():
    """List the published models: {name: (arch, constraint, eps)}.

    arch: as in `lib.models.build`; all have 1000 classes and expect 224 pixels. constraint:
    "natural", "l2" or "linf"; eps in pixels of [0, 1].
    """
    found = {}
    for name, arch in ARCHITECTURES.items():
        ladder = name.startswith(("resnet", "wide"))
        radii = [("l2", eps) for eps in (RADII["l2"] if ladder else ("0", "3"))]
        if ladder and name != "wide_resnet50_4":
            radii += [("linf", eps) for eps in RADII["linf"]]
        for norm, eps in radii:
            radius = float(eps) / (255 if norm == "linf" else 1)
            found[f"{name}_{norm}_eps{eps}"] = (arch, norm if radius else "natural", radius)
    return found


def network(source):
    """Return a network with all its weights from a file.

    source: the name of a published model such as "resnet50_l2_eps3", taken from
    `data/checkpoints` or downloaded; or "ARCH:PATH", an architecture as in `lib.models.build`
    and a file as in `lib.checkpoints.read`.

    Returns (network in eval mode, record), the record with arch, constraint, eps (in pixels of
    [0, 1]) and the file's name and sha256; constraint and eps are None for a file that is not
    named like a published one. Raises ValueError for a name that is not published, and as
    `build`, `read`, `load_into` and `download` do.
    """
    models = published()
    if source in models:
        arch, path = models[source][0], download(source)
    else:
        arch, path = divided(source)
    locate(arch)
    constraint, eps = models.get(path.stem, (None, None, None))[1:]
    matrices = [weight for weight in read(path).values() if weight.ndim == 2]
    if not matrices:
        raise ValueError(f"{path} has no weights of a linear layer; no classifier is in it")
    # The head comes last, in every network here; load_into tells if it is otherwise.
    model = load_into(build(arch, len(matrices[-1])), path).eval()
    record = {"arch": arch, "constraint": constraint, "eps": eps, "file": path.name}
    return model, record | {"sha256": _sha256(path)}


def ladder(names, *, device="cpu"):
    """Return networks from files as the ladder of sources that `lib.sources.ladder` returns.

    names: each a network as in `network`. Its constraint is known of a published model and of a
    file that is named like one; before any other it is written, with "=" between them, as in
    "natural=resnet50:mine.pt", "l2 3=…" (ε in pixels of [0, 1]) or "linf 0.0157=…". Several of one
    constraint are sources of several seeds, in the order they are named.

    Returns {(constraint, eps, seed): (network on the device in eval mode, record)}, natural first,
    then ℓ2, then ℓ∞ of growing radius. Raises ValueError where a constraint is not known, none is
    natural or all are, and constraints have unequal numbers of files; and as `network` does.
    """
    found = {}
    for name in names:
        told, equals, source = name.rpartition("=")
        model, record = network(source.strip())
        if equals:
            record["constraint"], record["eps"] = _told(told)
        if record["constraint"] is None:
            raise ValueError(
                f"the constraint that {source} was trained under is not known; write "
                f"natural={source}, l2 EPS={source} or linf EPS={source}"
            )
        key = record["constraint"], record["eps"]
        found.setdefault(key, []).append((model.to(device), record))
    counts = {len(sources) for sources in found.values()}
    if ("natural", 0.0) not in found or len(found) < 2 or len(counts) > 1:
        told = ", ".join(f"{len(v)} {c} {eps:g}" for (c, eps), v in found.items()) or "none"
        raise ValueError(
            f"the checkpoints are {told}; allowed are as many natural ones, at least 1, as of each "
            "robust constraint, at least one"
        )
    norms = ("natural", "l2", "linf")
    order = sorted(found, key=lambda key: (norms.index(key[0]), key[1]))
    return {(*key, s): found[key][s] for key in order for s in range(*counts)}


def known_ladder(name, value):
    """Check a chapter's parameter that lists networks for `ladder`: a rule for `lib.parameters`."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; write names with commas between them")
    for one in listed(value):
        told, equals, source = one.rpartition("=")
        if equals:
            _told(told)
        if source.strip() not in published():
            arch, path = divided(source.strip())
            locate(arch)
            if not path.is_file():
                raise ValueError(f"there is no file {path} (looked in {Path.cwd()})")


def _told(text):
    """Read the constraint that stands before a network's name."""
    found = rung(text.strip())
    if found is None:
        raise ValueError(f"constraint is {text!r}; allowed are natural, l2 EPS and linf EPS")
    return found


def rung(name):
    """Read "natural", "l2 0.5" or "linf 0.0157" as (constraint, eps), and all else as None."""
    if name == "natural":
        return name, 0.0
    parts = re.fullmatch(r"(l2|linf) +([0-9.]+(?:e-?[0-9]+)?)", name)
    try:
        return (parts[1], float(parts[2])) if parts and float(parts[2]) > 0 else None
    except ValueError:  # 1.2.3
        return None


def divided(source):
    """Divide ARCH:PATH, where the architecture may begin with its library.

    Returns (architecture, Path). Raises ValueError for text of another form.
    """
    parts = re.fullmatch(r"((?:timm:|torchvision:)?[^:/\\]+):(.+)", source)
    if parts is None or parts[1] in ("timm", "torchvision"):
        raise ValueError(
            f"source is {source!r}; allowed are ARCH:PATH and the published models, such as "
            "resnet50_l2_eps3"
        )
    return parts[1], Path(parts[2])


def download(name):
    """Return the path of a published model's file, fetched from the hub where it is not here.

    A download that broke off is resumed, its progress is shown, and its sha256 is compared with
    the hub's. A file in `data/checkpoints` comes first.

    Raises ValueError for a name that is not published or a file of another sha256, ImportError
    where huggingface_hub is missing and OSError where the hub cannot be reached.
    """
    if name not in published():
        raise ValueError(f"{name!r} is not published; lib.published.published() lists what is")
    here = FOLDER / f"{name}.ckpt"
    if here.is_file():
        return here
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ImportError(
            f"{name} is on the Hugging Face hub; pip install huggingface_hub, or put {here.name} "
            f"from {REPOSITORY} into {FOLDER}"
        ) from None
    try:
        path = Path(hf_hub_download(REPOSITORY, here.name))
    except Exception as error:  # the kinds differ between versions of the hub's client
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise OSError(
            f"{name} cannot be downloaded ({reason[0]}); put {here.name} from {REPOSITORY} "
            f"into {FOLDER}"
        ) from None
    # The hub's store names a large file by its sha256.
    expected = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", expected) and _sha256(path) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is not {expected}; delete it, try again")
    return path


def _sha256(path):
    """Hash a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
