"""Influence through the whole trained tail of a network, its unfrozen blocks too, by EK-FAC."""

import copy
import tempfile
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

LAYERS = (nn.Linear, nn.Conv2d)
"""The layers whose weights count in the approximation, and classes that compute what they do."""
BATCH = 128
"""Images a step."""


def tail_influence(
    tail: nn.Sequential,
    train_inputs: Tensor,
    train_y: Tensor,
    test_inputs: Tensor,
    test_y: Tensor,
    *,
    damping: float,
    draws: int = 5,
) -> Tensor:
    """Return the influence of each training image on the loss of each test image.

    An approximation of the scores that `lib.influence.head_influence` has for a head, same sign and
    unit: the Gauss–Newton Hessian, layer by layer a Kronecker product with corrected eigenvalues
    (EK-FAC, George et al., 2018, in influence functions Grosse et al., 2023), by kronfluence. It
    leaves out what one layer has to do with another, and the weights of BatchNorm.

    tail: as `lib.freezing.split` returns it, trained; it is left unchanged and used in eval mode,
    on its device. inputs: the trunk's outputs, float (N, …). y: int64 (N,). damping: added to
    each eigenvalue, above 0. draws: so many labels an image are drawn from the network's own
    answers to estimate the Hessian, always the same.

    Returns (N_test, N_train). Raises ValueError for a tail with linear layers or convolutions of
    another arithmetic, such as standardised weights.
    """
    tail = copy.deepcopy(tail).eval().requires_grad_(True)
    device = next(tail.parameters()).device
    train, test = (train_inputs, train_y), (test_inputs, test_y)
    # A network of timm runs whole, though only its unfrozen blocks are the tail's.
    whole = nn.Sequential(*getattr(tail[0], "hidden", tail[:1]), *tail[1:])
    inside = set(tail.modules())
    layers = {n: m for n, m in whole.named_modules() if isinstance(m, LAYERS) and m in inside}
    _as_their_kind(whole, layers, train_inputs[:2].to(device))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # its use of torch.cuda.amp
            return _approximate(whole, _task(layers), train, test, damping, draws)


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


def _approximate(tail, task, train, test, damping, draws):
    """Let kronfluence fit its factors and take the scores; what it writes is thrown away."""
    # Imported here, since it takes seconds.
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from torch.utils.data import ConcatDataset, TensorDataset

    device = next(tail.parameters()).device
    # kronfluence moves each batch to the device itself, from the CPU.
    train, test = (TensorDataset(x.cpu(), y.cpu()) for x, y in (train, test))
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
            per_device_batch_size=BATCH,
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "ekfac",
            query_dataset=test,
            train_dataset=train,
            score_args=ScoreArguments(damping_factor=damping),
            per_device_query_batch_size=BATCH,
            per_device_train_batch_size=BATCH,
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
