"""Source models, trained once: found again by all that determines them."""

import contextlib
import hashlib
import io
import json
import platform
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import nn
from torch.backends import cudnn
from torch.optim.swa_utils import update_bn

from lib.constraint import ALLOWED, NATURAL, Constraint
from lib.images import Images, digest
from lib.networks import choose_device
from lib.robustness import accuracy
from lib.runtime import files, fingerprint
from lib.training import BATCH, fit, pixels, steps_per_epoch
from lib.zoo.models import build
from lib.zoo.names import locate, versions

CACHE = files.DATA / "cache" / "sources"


@dataclass(frozen=True)
class Training:
    """How a source is trained.

    arch, width: as in `lib.zoo.models.build`. The rest: as in `lib.training.fit`.
    """

    epochs: int = 6
    attack_steps: int = 1
    arch: str = "small_resnet"
    width: int | None = None
    lr: float = 0.2
    batch_size: int = 64
    label_smoothing: float = 0.0
    augment: str = "none"
    flips: bool = False
    bfloat16: bool = False


def source(
    train: Images,
    test: Images,
    constraint: Constraint = NATURAL,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    **training,
) -> tuple[nn.Module, dict]:
    """Return a source trained on `train`, from the cache where it lies there already.

    test: gives the recorded accuracy and determines nothing else. constraint: natural or of a
    kind. seed: of initial weights, batches and all that is drawn. device: as in
    `lib.networks.choose_device`. training: as in `Training`.

    The weights (safetensors) and a record (JSON: parameters, versions, seconds, accuracies) are
    stored under `data/cache/sources`, named by a hash of the parameters, the images, the code
    and the versions that determine them. They are written whole or not at all, and checked when
    read: a file that is damaged or of another origin is named in a warning and trained anew. Of
    several processes that want the same source, one trains it and the others wait; where it is
    stopped, the next goes on after the last whole epoch, and ends with the same weights.

    Returns (Network in eval mode, record). Raises ValueError for a constraint that nothing is
    trained under, and as `fit` and `build` do.
    """
    if constraint != NATURAL and constraint.kind is None:
        raise ValueError(f"constraint is {constraint}; allowed are {ALLOWED}")
    how, device = Training(**training), choose_device(device)
    (identity, path), _ = _identified(train, test, constraint, seed=seed, device=device, **training)
    model = _as_built(train, identity)
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        record = _read(model, path, identity)
        if record is None:
            left = _Unfinished(path.with_suffix(".unfinished"))
            record = identity | _train(model.to(device), train, test, constraint, seed, how, left)
            _write(model, path, record)
            left.path.unlink(missing_ok=True)
    return model.to(device).eval(), record


def cached(call: Mapping) -> tuple[nn.Module, dict] | None:
    """Return a source that lies in the cache, trained here or by a cluster, or None.

    call: the arguments of `source` by name, all but `training` given. As of `source`, on the CPU.
    """
    for identity, path in _identified(**call):
        model = _as_built(call["train"], identity)
        record = _read(model, path, identity)
        if record is not None:
            return model.eval(), record
    return None


def keep(model: nn.Module, record: dict, call: Mapping) -> None:
    """Store what `source` has returned on a worker of a cluster, whatever machine that was.

    call: as in `cached`.
    """
    _, (identity, path) = _identified(**call)
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        _write(model, path, {**record, "worker": record["machine"], **identity})


def _identified(train, test, constraint, *, seed, device, **training):
    """Return all that determines a source and the path of its weights, as a pair.

    It is one of two: of a source that is trained here, and of one that a cluster trains.
    """
    how, found = Training(**training), []
    under = {"constraint": constraint.name, "amount": float(constraint.amount)}
    shared = {
        "parameters": {**under, "seed": seed, **asdict(how)},
        "images": [digest(train), digest(test)],
        "code": fingerprint.code(*_modules(how.arch, constraint)),
    }
    for machine in ((platform.machine(), choose_device(device).type), ("cluster", str(device))):
        identity = {**shared, "machine": [*machine, torch.__version__, *versions(how.arch)]}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
        found.append((identity, CACHE / f"{key}.safetensors"))
    return found


def _as_built(train, identity):
    """Return the network of a source before its training."""
    how = identity["parameters"]
    return build(how["arch"], len(train.classes), seed=how["seed"], width=how["width"])


def _modules(arch, constraint):
    """Name the modules of lib that determine the weights of a source."""
    library, _ = locate(arch)
    nets = () if library == "small" else (f"zoo.{library}_nets",)
    # A further kind leaves natural and adversarial sources as they are.
    kinds = ("kinds",) if constraint.kind and not constraint.ball else ()
    return "training", "zoo.models", *nets, *kinds


@contextlib.contextmanager
def _reproducibly() -> Iterator[None]:
    """Compute on one thread and by the same kernels: the last bits of a sum depend on both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with cudnn.flags(deterministic=True, benchmark=False):
            yield
    finally:
        torch.set_num_threads(threads)


def untrained(
    train: Images,
    *,
    seed: int = 0,
    arch: str = "small_resnet",
    width: int | None = None,
    device: str | torch.device = "auto",
) -> nn.Module:
    """Return a control: a network of random weights that has seen images, but learned nothing.

    Its BatchNorm statistics are measured on `train`, so that its features are of the size that
    those of a trained network are; else the learning rate of the fine-tuning alone would decide
    against it. arch, width: as in `Training`; the rest: as in `source`.

    Returns a Network in eval mode. Raises ValueError as `build` does.
    """
    device = choose_device(device)
    model = build(arch, len(train.classes), seed=seed, width=width).to(device)
    batches = train.x.tensor_split(steps_per_epoch(len(train), BATCH))
    with _reproducibly():
        update_bn((pixels(batch.to(device)) for batch in batches), model)
    return model.eval()


@dataclass(frozen=True)
class _Unfinished:
    """The state of a training that was stopped, beside where its source will lie."""

    path: Path

    def read(self):
        """Return the state after the last whole epoch, or None where there is none to trust."""
        try:
            return torch.load(self.path, weights_only=True, map_location="cpu")
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged archive raises
            warnings.warn(f"{self.path} is not used: {type(error).__name__}", stacklevel=2)
            return None

    def write(self, state):
        """Replace the state."""
        content = io.BytesIO()
        torch.save(state, content)
        files.replace(self.path, content.getvalue())


def _train(model, train, test, constraint, seed, how, unfinished):
    """Train the model in place, and return what is worth recording of it."""
    shown = constraint.ball or constraint.kind
    settings = {k: v for k, v in asdict(how).items() if k not in ("arch", "width")}
    with _reproducibly():
        history = fit(model, train, ball=shown, seed=seed, unfinished=unfinished, **settings)
        right = accuracy(model, test)
    fitted = history[-1]["accuracy"] if history else None
    seconds = sum(row["seconds"] for row in history)
    return {"seconds": seconds, "train_accuracy": fitted, "test_accuracy": right}


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
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode() + content).hexdigest()
