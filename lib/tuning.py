"""Fine-tuning: what is trained of a network, on the outputs of the frozen trunk below it."""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from lib.attacks import evaluating
from lib.augmentation import one_view
from lib.freezing import split
from lib.images import Images
from lib.training import BATCH, NotFinite, check_finite, descend, pixels, steps_per_epoch, thirds


@dataclass(frozen=True)
class Recipe:
    """How a tail is trained; the defaults are those of the paper (Utrera et al., 2021).

    epochs: passes over the images, 1 and more. lr: first learning rate, divided by 10 after each
    third. batch_size: images a step. weight_decay: of SGD. Raises ValueError for epochs < 1.
    """

    epochs: int = 150
    lr: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; fine-tuning needs at least 1")


@dataclass(frozen=True)
class Lessons:
    """What each of S tails is trained on, and how.

    below: the trunk's outputs (M, …), which the tails share. members: int64 (S, views · N),
    positions there of what each tail is shown. y: int64 (S, N). seeds: S numbers, of the new heads
    and the batches. rates: S first learning rates, or none for the recipe's. views: how many of
    each image there are in `members`, all images in each; every epoch shows the next. prepare: as
    in `lib.training.descend`, makes the trunk's outputs of what `below` holds; or None. evaluate:
    is called with a tail's number, 0 to S − 1, the number of epochs done and the tail, after the
    epochs of evaluate_at, to look and not to touch.
    """

    below: Tensor
    members: Tensor
    y: Tensor
    recipe: Recipe
    seeds: Sequence[int]
    rates: Sequence[float] = ()
    views: int = 1
    prepare: Callable | None = None
    evaluate: Callable[[int, int, nn.Sequential], object] | None = None
    evaluate_at: Collection[int] = ()

    def recipes(self) -> list[Recipe]:
        """Return the recipe of each tail, which differ in the learning rate."""
        rates = self.rates or [self.recipe.lr] * len(self.seeds)
        pairs = zip(self.seeds, rates, strict=True)
        return [replace(self.recipe, lr=rate) for _, rate in pairs]


def freeze_below(
    network: nn.Module, unfrozen_blocks: int, sets: Iterable[Images | Iterable[Tensor]]
) -> tuple[nn.Sequential, list[Tensor]]:
    """Run what stays frozen of a network over sets of images, once an image.

    unfrozen_blocks: as in `lib.transfer.transfer`. sets: each Images or an iterable of batches,
    uint8 (B, 3, H, W); pixels are taken batch by batch.

    Returns what `lib.freezing.split` leaves above, and for each set the trunk's outputs (N, …).
    Raises `lib.training.NotFinite` where these, or the weights above, are not finite.
    """
    device = next(network.parameters()).device
    batches = (s.x.split(BATCH) if isinstance(s, Images) else s for s in sets)
    with evaluating(network):  # and back in the modes it came in
        trunk, above = split(network, unfrozen_blocks)
        below = [outputs(trunk, (pixels(x.to(device)) for x in part)) for part in batches]
    values = [*below, *above.state_dict().values()]
    check_finite(values, "the network's outputs or weights", "its file is damaged, or no network's")
    return above, below


def fresh_views(
    network: nn.Module, unfrozen_blocks: int, train: Images, steps: int, policy: str = "paper"
) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return what maps positions of images to the trunk's outputs for new views of them.

    unfrozen_blocks: as in `lib.transfer.transfer`. steps: of an epoch; each epoch has a view of its
    own, as if so many had been kept. policy: as in `one_view`. It is for `prepare` of `tune`.
    """
    trunk, _ = split(network, unfrozen_blocks)
    device = next(network.parameters()).device

    @torch.no_grad()
    def prepare(positions, y, step):
        positions = positions.cpu()
        x = one_view(train.x[positions], positions, step // steps, policy=policy)
        with evaluating(network):
            return trunk(pixels(x.to(device)))

    return prepare


def tune(
    above: nn.Sequential,
    below: Tensor,
    members: Tensor,
    y: Tensor,
    classes: int,
    recipe: Recipe,
    **how,
) -> Iterable[tuple[nn.Sequential, float]]:
    """Train copies of a tail with new heads, each on images and labels of its own.

    above: the tail, left unchanged. below: its device is used. classes: of the new heads. The rest:
    as in `Lessons`; heads alone are trained all at once, by `fit_heads`.

    Returns (tail in eval mode, training accuracy of the last epoch), S times. Raises ValueError as
    `lib.training.descend` does.
    """
    lessons = Lessons(below, members.to(below.device), y.to(below.device), recipe, **how)
    tails = [_new_tail(above, classes, seed) for seed in lessons.seeds]
    alone = len(above) == 1 and lessons.prepare is None
    return fit_heads(tails, lessons) if alone else fit_tails(tails, lessons)


def fit_tails(
    tails: Sequence[nn.Sequential], lessons: Lessons
) -> Iterator[tuple[nn.Sequential, float]]:
    """Train S tails in place, one after another, and yield what `tune` returns."""
    each = zip(tails, lessons.members, lessons.y, lessons.seeds, lessons.recipes(), strict=True)
    for which, (tail, members, labels, seed, recipe) in enumerate(each):

        def watch(row, which=which, tail=tail):
            if lessons.evaluate and row["epoch"] in lessons.evaluate_at:
                lessons.evaluate(which, row["epoch"], tail)

        history = descend(
            tail,
            lessons.below[members],
            labels,
            seed=seed,
            schedule=thirds,
            views=lessons.views,
            prepare=lessons.prepare,
            watch=watch,
            **asdict(recipe),
        )
        yield tail, history[-1]["accuracy"]


@torch.no_grad()
def fit_heads(
    tails: Sequence[nn.Sequential], lessons: Lessons
) -> list[tuple[nn.Sequential, float]]:
    """Train tails of a head alone as `fit_tails` would train each by itself, all at once.

    A step of one small head costs little more than the overhead of taking it; side by side the
    heads share that, and with the gradient of the cross-entropy written out, (p − y) hᵀ, a step
    is a handful of operations. The heads do not mix: each sees the mean loss over its own batch.

    tails: S of one nn.Linear, left unchanged; what is returned are copies. Of the lessons, `below`
    are features (M, d) and `prepare` has no part.
    """
    features, y, recipe = lessons.below, lessons.y, lessons.recipe
    joined = torch.stack([torch.cat([t[-1].weight, t[-1].bias[:, None]], dim=1) for t in tails])
    weight, bias = joined[:, :, :-1], joined[:, :, -1:]
    gradient, velocity = torch.zeros_like(joined), torch.zeros_like(joined)
    count, size = y.shape
    generators = [torch.Generator().manual_seed(seed) for seed in lessons.seeds]
    first_rates = [one.lr for one in lessons.recipes()]
    scale = features.new_tensor(first_rates)[:, None, None]
    steps, step = steps_per_epoch(size, recipe.batch_size), 0
    for epoch in range(recipe.epochs):
        correct = torch.zeros(count, device=y.device)
        orders = [torch.randperm(size, generator=generator) for generator in generators]
        for batch in torch.stack(orders).to(y.device).tensor_split(steps, dim=1):
            shown = lessons.members.gather(1, batch + epoch % lessons.views * size)
            h = features.index_select(0, shown.flatten()).view(*batch.shape, -1)  # (S, B, d)
            labels = y.gather(1, batch)[:, None]
            # Classes before images: several times as fast as the other way round.
            logits = torch.baddbmm(bias, weight, h.mT)  # (S, C, B)
            residual = logits.softmax(1)
            residual.scatter_add_(1, labels, residual.new_full(labels.shape, -1))
            residual /= batch.shape[1]
            torch.bmm(residual, h, out=gradient[:, :, :-1])
            torch.sum(residual, 2, keepdim=True, out=gradient[:, :, -1:])
            gradient.add_(joined, alpha=recipe.weight_decay)
            velocity.mul_(0.9).add_(gradient)
            rate = scale * thirds(step / (recipe.epochs * steps))
            joined.sub_(gradient.add_(velocity, alpha=0.9).mul_(rate))  # Nesterov's step
            if epoch == recipe.epochs - 1:
                correct += (logits.argmax(1, keepdim=True) == labels).sum((1, 2))
            step += 1
        if not joined.isfinite().all():
            heads, when = zip(joined, first_rates, strict=True), f"after epoch {epoch + 1}"
            lr = next(lr for head, lr in heads if not head.isfinite().all())
            raise NotFinite(f"the weights {when} are not finite; lower lr, now {lr}")
        if lessons.evaluate and epoch + 1 in lessons.evaluate_at:
            for which, tail in enumerate(_apart(joined)):
                lessons.evaluate(which, epoch + 1, tail)
    return list(zip(_apart(joined), (correct / size).tolist(), strict=True))


@torch.no_grad()
def outputs(module: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Run a module over batches, in the mode it is in."""
    return torch.cat([module(batch) for batch in batches])


def _apart(joined):
    """Return heads (S, C, d + 1), bias last, as S tails that share no memory with them."""
    tails = []
    for weights in joined:
        features, classes = weights.shape[1] - 1, weights.shape[0]
        head = nn.utils.skip_init(
            nn.Linear, features, classes, device=weights.device, dtype=weights.dtype
        )
        head.weight.copy_(weights[:, :-1])
        head.bias.copy_(weights[:, -1])
        tails.append(nn.Sequential(head))
    return tails


def _new_tail(above, num_classes, seed):
    """Copy what is trained of the source, with a new head in PyTorch's default initialisation."""
    tail, old = copy.deepcopy(above).requires_grad_(True), above[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tail[-1] = nn.Linear(old.in_features, num_classes).to(old.weight.device)
    return tail
