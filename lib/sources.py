"""Source models, trained once: found again by all that determines them."""

import hashlib
import json
import platform
import time
import warnings

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch.backends import cudnn

from lib import data, files, fingerprint
from lib.attacks import BALLS
from lib.images import digest
from lib.models import build, choose_device, versions
from lib.parallel import each
from lib.parameters import integer, numbers, one_of
from lib.training import BATCH, accuracy, fit, pixels

CACHE = files.DATA / "cache" / "sources"
CONSTRAINTS = ("natural", *BALLS)
"""What a source can be trained under."""
RULES = {
    "source_data": data.known,
    "n_source": integer(0, 10**7),
    "l2": numbers(0.001, 100),
    "linf": numbers(0.0001, 1, empty=True),
    "seeds": integer(1, 1000),
    "source_epochs": integer(1, 10_000),
    "attack_steps": integer(1, 1000),
    "device": one_of("auto", "cpu", "cuda"),
}
"""What `lib.parameters.check` allows for the parameters by which every chapter chooses sources."""
NOTED = (
    "source_data", "n_source", "source_epochs", "attack_steps", "checkpoints", "image_size",
)  # fmt: skip
"""Those that say how the sources were made, besides what the rows of every chapter say."""


def source(
    train,
    test,
    *,
    constraint="natural",
    eps=0.0,
    seed=0,
    epochs=6,
    attack_steps=1,
    arch="small_resnet",
    width=None,
    lr=0.2,
    batch_size=64,
    device="auto",
):
    """Return a source trained on `train`, from the cache where it lies there already.

    train, test: Images; the test images give the recorded accuracy and determine nothing else.
    constraint: "natural", "l2" or "linf", and eps its radius, in pixels of [0, 1] (0 for
    natural). seed: of initial weights, batches and random starts. epochs, attack_steps, lr,
    batch_size: as in `lib.training.fit`; arch, width: as in `lib.models.build`; device: as in
    `lib.models.choose_device`.

    The weights (safetensors) and a record (JSON: parameters, versions, seconds, accuracies) are
    stored under `data/cache/sources`, named by a hash of the parameters, the images, the code
    and the versions that determine them. They are written whole or not at all, and checked when
    read: a file that is damaged or of another origin is named in a warning and trained anew. Of
    several processes that want the same source, one trains it and the others wait.

    Returns (Network in eval mode, record). Raises ValueError for an unknown constraint, and as
    `fit` and `build` do.
    """
    if constraint not in CONSTRAINTS:
        raise ValueError(f"constraint is {constraint!r}; allowed are {', '.join(CONSTRAINTS)}")
    if (constraint == "natural") != (eps == 0):
        raise ValueError(f"eps is {eps} for {constraint}; natural has 0, l2 and linf more")
    device = choose_device(device)
    parameters = {
        "constraint": constraint, "eps": float(eps), "seed": seed, "epochs": epochs,
        "attack_steps": attack_steps, "arch": arch, "width": width, "lr": float(lr),
        "batch_size": batch_size,
    }  # fmt: skip
    identity = {
        "parameters": parameters,
        "images": [digest(train), digest(test)],
        "code": fingerprint.code("training", "models"),
        "machine": [platform.machine(), device.type, torch.__version__, *versions(arch)],
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    path = CACHE / f"{key}.safetensors"
    model = build(arch, len(train.classes), seed=seed, width=width)
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        record = _read(model, path, identity)
        if record is None:
            record = {**identity, **_train(model.to(device), train, test, parameters)}
            _write(model, path, record)
    return model.to(device).eval(), record


def name(constraint, eps):
    """Name a source as figures and tables do: natural, ℓ2 0.3, ℓ∞ 4/255."""
    if constraint == "natural":
        return constraint
    return f"ℓ2 {eps:g}" if constraint == "l2" else f"ℓ∞ {round(255 * eps, 2):g}/255"


def noted(given):
    """Choose from a chapter's parameters, {name: value}, those of NOTED that it has."""
    return {name: given[name] for name in NOTED if name in given}


def rungs(l2, linf):
    """List the constraints of a ladder: natural, then ℓ2, then ℓ∞ balls of growing radius.

    l2, linf: radii, in pixels of [0, 1]. Returns pairs (constraint, eps), as `ladder` takes.
    """
    return [
        ("natural", 0.0),
        *(("l2", float(eps)) for eps in sorted(l2)),
        *(("linf", float(eps)) for eps in sorted(linf)),
    ]


def representative(rungs, place="middle"):
    """Choose the rung that stands for the robust sources: of the ℓ2 rungs, or of all if none is ℓ2.

    rungs: pairs (constraint, eps), natural among them, each norm in order of its radius. place:
    "middle", or "strongest" for the last.

    Returns a pair. Raises ValueError where no rung is robust.
    """
    robust = [rung for rung in rungs if rung[0] != "natural"]
    if not robust:
        raise ValueError("no source is robust; give one of l2 or linf besides the natural one")
    of_l2 = [rung for rung in robust if rung[0] == "l2"] or robust
    return of_l2[len(of_l2) // 2 if place == "middle" else -1]


def ladder(train, test, rungs, seeds, *, device="auto", workers=None, **settings):
    """Return the sources of several constraints and seeds, trained where they are not cached.

    rungs: pairs (constraint, eps). seeds: training seeds. workers: processes at a time, or None
    for one a core. device and settings: those of `source`, the same for all.

    Returns {(constraint, eps, seed): (Network, record)}.
    """
    keys = [(*rung, seed) for seed in seeds for rung in rungs]
    calls = [
        {
            "train": train, "test": test, "constraint": constraint, "eps": eps, "seed": seed,
            "device": device, **settings,
        }
        for constraint, eps, seed in keys
    ]  # fmt: skip
    found = each(source, calls, label="sources", device=choose_device(device), workers=workers)
    return dict(zip(keys, found, strict=True))


@torch.no_grad()
def untrained(train, *, seed=0, arch="small_resnet", width=None, device="auto"):
    """Return a control: a network of random weights that has seen images, but learned nothing.

    Its BatchNorm statistics are measured on `train`, Images, so that its features are of the
    size that those of a trained network are; else the learning rate of the fine-tuning alone
    would decide against it. The rest: as in `source`.

    Returns a Network in eval mode. Raises ValueError as `build` does.
    """
    device = choose_device(device)
    model = build(arch, len(train.classes), seed=seed, width=width).to(device)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average over all batches
    for batch in train.x.split(BATCH):
        model(pixels(batch.to(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def _train(model, train, test, parameters):
    """Train the model in place, and return what is worth recording of it."""
    ball = BALLS.get(parameters["constraint"])
    chosen = ("epochs", "attack_steps", "seed", "lr", "batch_size")
    settings = {key: parameters[key] for key in chosen}
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of a sum depend on the number of threads
    try:
        with cudnn.flags(deterministic=True, benchmark=False):
            history = fit(model, train, ball=ball and ball(parameters["eps"]), **settings)
    finally:
        torch.set_num_threads(threads)
    return {
        "seconds": time.perf_counter() - start,
        "train_accuracy": history[-1]["accuracy"] if history else None,
        "test_accuracy": accuracy(model, test),
    }


def _read(model, path, identity):
    """Load the weights into the model and return the record, or None where none can be trusted."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        content = path.read_bytes()
        if any(record[key] != value for key, value in identity.items()):
            raise ValueError("it records other parameters than its name says")
        if record["sha256"] != _checksum(record, content):
            raise ValueError("its weights or its record are not those that were written")
        weights = safetensors.torch.load(content)
        # Before anything is copied: training must start from the weights as built.
        shapes = ({k: v.shape for k, v in w.items()} for w in (weights, model.state_dict()))
        if next(shapes) != next(shapes):
            raise ValueError("its weights are those of another network")
        model.load_state_dict(weights)
        return record
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        warnings.warn(f"{path} is not used but trained anew: {error}", stacklevel=4)
        return None


def _write(model, path, record):
    """Store weights and record; the weights last, since it is they that are looked for."""
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    content = safetensors.torch.save(weights)
    record["sha256"] = _checksum(record, content)
    files.replace(path.with_suffix(".json"), json.dumps(record, indent=1, sort_keys=True).encode())
    files.replace(path, content)


def _checksum(record, content):
    """Hash the weights and all that is recorded of them."""
    said = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode() + content).hexdigest()
