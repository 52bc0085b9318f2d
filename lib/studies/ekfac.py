"""Influence through the whole trained tail of a network: exact for a head, else by EK-FAC."""

import copy
import tempfile
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lib.influence import head_influence

LAYERS = (nn.Linear, nn.Conv2d)
"""The layers whose weights count in the approximation, and classes that compute what they do."""


def tail_influence(
    tail: nn.Sequential,
    train_inputs: Tensor,
    train_y: Tensor,
    test_inputs: Tensor,
    test_y: Tensor,
    *,
    damping: float,
    seed: int = 0,
    draws: int = 5,
    batch_size: int = 128,
) -> Tensor:
    """Return the influence of each training image on the loss of each test image.

    For a tail that is the head alone, the exact scores of `lib.influence.head_influence`. For one
    with unfrozen blocks an approximation of the same scores, same sign and unit: the Gauss–Newton
    Hessian, layer by layer a Kronecker product with corrected eigenvalues (EK-FAC, George et al.,
    2018, in influence functions Grosse et al., 2023), by kronfluence. It leaves out what one layer
    has to do with another, and the weights of BatchNorm.

    tail: as `lib.freezing.split` returns it, trained; it is left unchanged and used in eval mode,
    on its device. inputs: the trunk's outputs, float (N, …). y: int64 (N,). damping: added to
    each eigenvalue, above 0. seed, draws: of the labels that are drawn from the network's own
    answers, so many an image, to estimate the Hessian. batch_size: images a step.

    Returns (N_test, N_train). Raises ValueError for a damping of 0 or less, inputs and labels that
    do not fit together, a tail with linear layers or convolutions of another arithmetic, such as
    standardised weights, and as `head_influence` does.
    """
    tail = copy.deepcopy(tail).eval().requires_grad_(True)
    device = next(tail.parameters()).device
    train, test = (
        _checked(name, inputs.to(device), y.to(device))
        for name, inputs, y in (("training", train_inputs, train_y), ("test", test_inputs, test_y))
    )
    if is_head(tail):
        with torch.no_grad():
            seen = [(x, tail(x).softmax(1), y) for x, y in (train, test)]
        return head_influence(*seen[0], *seen[1], damping=damping)
    if not damping > 0:
        raise ValueError(f"damping is {damping}; allowed is what is above 0")
    # A network of timm runs whole, though only its unfrozen blocks are the tail's.
    whole = nn.Sequential(*getattr(tail[0], "hidden", tail[:1]), *tail[1:])
    inside = set(tail.modules())
    layers = {n: m for n, m in whole.named_modules() if isinstance(m, LAYERS) and m in inside}
    _as_their_kind(whole, layers, train[0][:2])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # its use of torch.cuda.amp
            return _approximate(whole, _task(layers), train, test, damping, draws, batch_size)


def is_head(tail: nn.Sequential) -> bool:
    """Tell whether a tail is a linear head and nothing else."""
    return len(tail) == 1 and isinstance(tail[0], nn.Linear)


def _checked(name, inputs, y):
    if y.ndim != 1 or len(inputs) != len(y) or not len(y):
        raise ValueError(
            f"{name} inputs are {tuple(inputs.shape)} and y {tuple(y.shape)}; expected (N, …) and "
            "(N,), one label for each image"
        )
    return inputs, y


@torch.no_grad()
def _as_their_kind(whole, layers, inputs):
    """Make layers of a derived class plain ones, or raise ValueError where they are not the same.

    kronfluence takes the two classes themselves only.
    """
    kinds = {layer: next(k for k in LAYERS if isinstance(layer, k)) for layer in layers.values()}
    same = {}

    def compare(layer, given, out):  # at once, since what follows may change `out` in place
        same[layer] = torch.allclose(kinds[layer].forward(layer, *given), out)

    hooks = [layer.register_forward_hook(compare) for layer in kinds]
    whole(inputs)
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        if not same.get(layer):
            raise ValueError(
                f"the layer {name} is a {type(layer).__name__}, whose influence EK-FAC does not "
                "know; take unfrozen_blocks 0, or another network"
            )
        layer.__class__ = kinds[layer]


def _approximate(tail, task, train, test, damping, draws, batch_size):
    """Let kronfluence fit its factors and take the scores; what it writes is thrown away."""
    # Imported here: it takes seconds, and only tails with unfrozen blocks need it.
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from torch.utils.data import ConcatDataset, TensorDataset

    device = train[0].device
    # kronfluence moves each batch to the device itself, from the CPU.
    train, test = (TensorDataset(x.cpu(), y.cpu()) for x, y in (train, test))
    batches = {"per_device_batch_size": batch_size}
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "influence",
            model=prepare_model(tail, task),
            task=task,
            cpu=device.type == "cpu",
            disable_tqdm=True,
            disable_model_save=True,
            output_dir=folder,
        )
        # A pass over the images draws one label for each.
        analyzer.fit_all_factors(
            "ekfac",
            ConcatDataset([train] * draws),
            factor_args=FactorArguments(strategy="ekfac"),
            **batches,
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "ekfac",
            query_dataset=test,
            train_dataset=train,
            score_args=ScoreArguments(damping_factor=damping),
            per_device_query_batch_size=batch_size,
            per_device_train_batch_size=batch_size,
        )
        return analyzer.load_pairwise_scores("scores")["all_modules"].to(device)


def _task(layers):
    """Tell kronfluence what is trained: layers, by the sum over a batch of the cross-entropy."""
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(self, batch, model, sample=False):
            inputs, y = batch
            logits = model(inputs)
            if sample:
                y = torch.multinomial(logits.detach().softmax(1), 1).flatten()
            return cross_entropy(logits, y, reduction="sum")

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return list(layers)

    return Classification()
