"""The command line: fine-tune a source to one's own images, save the whole network, use it."""

import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from lib import datasets
from lib.advisor import checked, exported, options, predicting, starts
from lib.datasets import labelled
from lib.datasets.walk import LeftOut
from lib.freezing import split
from lib.runtime import command_line


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Fine-tune a source to a folder of images, save it, and predict with it."""


@commands.command("fit")
@click.argument("target")
@click.option(
    "--source",
    required=True,
    help='As "l2 0.5", "photographs l2 0.5", "from scratch", "resnet50_l2_eps3", ARCH:PATH.',
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file, .pt2.")
@click.option("--unfrozen-blocks", type=int, help="Trained besides the head (0); -1: all.")
@click.option("--folds", type=click.IntRange(0, 1000), default=4, help="Held out in turn; 0: none.")
@click.option("--all-images", is_flag=True, help="Afterwards train on the test images too.")
@click.option("--epochs", type=int, default=150, help="Passes over the images.")
@click.option("--lr", type=float, default=0.1, help="First learning rate.")
@click.option("--seed", type=click.IntRange(0, 10**6), default=0, help="Of head, batches, folds.")
@click.option("--source-seed", type=int, default=0, help="Training seed of the source.")
@click.option("--source-data", default="microcosm", help="What the source learns: set or folder.")
@click.option("--n-source", type=int, default=2500, help="Training images of it; 0: all.")
@click.option("--source-epochs", type=int, default=6, help="Passes over these images.")
@click.option("--attack-steps", type=int, default=1, help="PGD steps of robust training.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--cluster", default="", help="Dask scheduler on which the source is trained.")
@click.pass_context
@options.as_typed()
def fit_command(
    context: click.Context,
    target: str,
    source: str,
    out: Path,
    unfrozen_blocks: int | None,
    folds: int,
    all_images: bool,
    epochs: int,
    lr: float,
    seed: int,
    **how,
) -> None:
    """Fine-tune a source to the images of a folder, and save the network.

    TARGET has one sub-folder of images for each class, or is a known set. Where it is split, its
    test images tell how good the network is; else images that are held out in turn do.
    """
    exported.check(out)
    options.check(context)
    if folds == 1:
        raise ValueError("--folds is 1; take 2 and more, or 0 to hold out none")
    unfrozen_blocks = starts.depth(source, unfrozen_blocks)
    opened = datasets.opened(target)
    about = datasets.survey(opened)
    _say(about.lines() if about.divided else about.together().lines())
    labelled.check(opened)
    idle, why = ("folds", "beside") if about.divided else ("all_images", "without")
    options.refuse(context, [idle], f"{why} test images")
    (start,) = starts.load([source], **how)
    split(start.model, unfrozen_blocks)  # refused before anything is computed
    images, _ = labelled.load(opened, size=start.size)
    test = labelled.tested(opened, size=start.size)
    _say(_serving(images, test))
    settings: dict = {"unfrozen_blocks": unfrozen_blocks, "epochs": epochs, "lr": lr, "seed": seed}
    asked: dict = {"folds": folds, "all_images": all_images}
    done = checked.fine_tuned(start.model, images, test, **asked, **settings)
    noted = {"source": source, **settings, "images": len(done.images)}
    noted["depth"] = about.depth or predicting.DEPTH
    noted["held_out"] = done.scores and done.scores._asdict()
    exported.save(done.network.cpu(), out, classes=images.classes, size=start.size, **noted)
    for line in _result(out, start, done, test):
        click.echo(line)


@commands.command("predict")
@click.argument("file")
@click.argument("folder")
@click.option("--out", type=click.Path(path_type=Path), help="A .csv file, instead of the screen.")
@click.pass_context
def predict_command(context: click.Context, file: str, folder: str, out: Path | None) -> None:
    """Classify the images of a folder: file, class and probability, as CSV.

    An image that cannot be read is a row with its error; then the exit code is 1.
    """
    if out is not None:
        exported.check_name(out, ".csv")
    left = LeftOut()
    rows = predicting.predict(*exported.load(file), folder, left)
    _say(left.notes())
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as text:
        wrong = predicting.write(rows, text)
    if out is not None:
        click.echo(f"{out}: what the images of {folder} show")
    if wrong:
        click.echo(f"error: {wrong} image(s) could not be read; their rows say why", err=True)
        context.exit(1)


def _say(lines):
    """Write lines to stderr, apart from what a command gives."""
    for line in lines:
        click.echo(line, err=True)


def _serving(images, test):
    """Say which images train, and which only tell how good the network is."""
    counts = images.y.bincount(minlength=len(images.classes)).tolist()
    if alone := [name for name, n in zip(images.classes, counts, strict=True) if n == 1]:
        yield f"one image to train on, so never held out: {', '.join(alone)}"
    if test is not None:
        yield f"{len(images)} images train; {len(test)} test images only tell how good that is"


def _result(out, start, done, test):
    """Say what was saved, and what it is worth."""
    also = ", its test images too" * (test is not None and done.seen_since)
    yield (
        f"{out}: {start.constraint}, fine-tuned to {len(done.images)} images of "
        f"{len(done.images.classes)} classes{also}"
    )
    kind = "images held out in turn" if test is None else "test images"
    yield from checked.worth(done.scores, kind)
    if done.scores and done.seen_since:
        yield "that is of networks without these images; the saved one was trained on them too"


def _note(message, *_, **__):
    """Say a warning without the line of code that gave it."""
    click.echo(f"note: {' '.join(str(message).split())}", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with warnings.catch_warnings():
        warnings.showwarning = _note
        return command_line.run(commands, "python -m lib.advisor", words)


if __name__ == "__main__":
    command_line.end_by_kill()
    sys.exit(main())
