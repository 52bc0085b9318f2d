"""Going on with one's own images: fine-tune a source, save the whole network, and use it."""

import csv
import io
import shlex
import signal
import sys
from pathlib import Path

import click
import torch

from lib import exported, files, labelled, starts
from lib.folders import image_files
from lib.freezing import join
from lib.pictures import read_image
from lib.tails import freeze_below, tune
from lib.training import pixels

BATCH = 100
"""Images in memory at a time when a folder is predicted."""


def fine_tune(
    source,
    images,
    *,
    unfrozen_blocks=0,
    epochs=150,
    lr=0.1,
    batch_size=128,
    weight_decay=5e-4,
    seed=0,
):
    """Fine-tune a source to labelled images, all of them, and return the network as one.

    source, unfrozen_blocks, epochs, lr, batch_size, weight_decay: as in `lib.transfer.transfer`.
    images: Images. seed: of the new head and the batches.

    Returns (network in eval mode, training accuracy of the last epoch, 0 to 1). Raises ValueError
    as `transfer` does.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; fine-tuning needs at least 1")
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    y = images.y[None].to(below.device)
    ((tail, fitted),) = tune(above, iter([below]), y, len(images.classes), seeds=[seed], **settings)
    return join(source, unfrozen_blocks, tail), fitted


@torch.no_grad()
def predict(network, about, folder):
    """Classify all images in a folder and the folders in it.

    network, about: as `lib.exported.load` returns them.

    Returns rows (file within the folder, class, probability). Raises ValueError where there is no
    folder, no image in it, or one that cannot be read.
    """
    root = Path(folder).expanduser()
    found = image_files(root)
    if not found:
        raise ValueError(f"there is no folder of images {str(folder)!r} (looked in {Path.cwd()})")
    rows = []
    for start in range(0, len(found), BATCH):
        part = found[start : start + BATCH]
        x = torch.stack([read_image(file, about["size"]) for file in part])
        sure, answers = network(pixels(x)).softmax(1).max(1)
        names = (Path(file).relative_to(root).as_posix() for file in part)
        told = zip(names, answers.tolist(), sure.tolist(), strict=True)
        rows += [(name, about["classes"][answer], p) for name, answer, p in told]
    return rows


def command(target, source, out, **options):
    """Write the command line that fine-tunes and saves.

    target, source, out: its arguments. options: those of `fit`, by name; defaults are left out.
    """
    defaults = {option.name: option.default for option in fit_command.params}
    words = ["python", "-m", "lib.tuned", "fit", str(target), "--source", source]
    for name, value in options.items():
        if value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", f"{value}"]
    return shlex.join([*words, "--out", str(out)])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands():
    """Fine-tune a source to a folder of images, save it, and predict with it."""


@commands.command("fit")
@click.argument("target")
@click.option("--source", required=True, help='As in "natural", "l2 0.5", or ARCH:PATH.')
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file, .pt2.")
@click.option("--unfrozen-blocks", type=int, default=0, help="Trained besides the head; -1: all.")
@click.option("--epochs", type=int, default=150, help="Passes over the images.")
@click.option("--lr", type=float, default=0.1, help="First learning rate.")
@click.option("--seed", type=int, default=0, help="Of the new head and the batches.")
@click.option("--source-seed", type=int, default=0, help="Training seed of the source.")
@click.option("--source-data", default="microcosm", help="What the source learns: set or folder.")
@click.option("--n-source", type=int, default=2500, help="Training images of it; 0: all.")
@click.option("--source-epochs", type=int, default=6, help="Passes over these images.")
@click.option("--attack-steps", type=int, default=1, help="PGD steps of robust training.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
def fit_command(target, source, out, unfrozen_blocks, epochs, lr, seed, **of_source):
    """Fine-tune a source to all images of a folder and save the network.

    TARGET has one sub-folder of images for each class, or is a known set.
    """
    exported.check(out)
    (start,) = starts.load([source], **of_source)
    images, _ = labelled.load(target, size=start.size)
    settings = {"unfrozen_blocks": unfrozen_blocks, "epochs": epochs, "lr": lr, "seed": seed}
    network, fitted = fine_tune(start.model, images, **settings)
    about = {"source": source, **settings, "images": len(images), "training_accuracy": fitted}
    exported.save(network.cpu(), out, classes=images.classes, size=start.size, **about)
    click.echo(
        f"{out}: {start.label}, fine-tuned to {len(images)} images of {len(images.classes)} "
        f"classes, {100 * fitted:.1f} % of them right"
    )


@commands.command("predict")
@click.argument("file")
@click.argument("folder")
@click.option("--out", type=click.Path(path_type=Path), help="A CSV file, instead of the screen.")
def predict_command(file, folder, out):
    """Classify the images of a folder: file, class and probability, as CSV."""
    rows = predict(*exported.load(file), folder)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "class", "probability"])
    table.writerows((name, answer, f"{p:.4f}") for name, answer, p in rows)
    if out is None:
        click.echo(text.getvalue(), nl=False)
    else:
        files.replace(out, text.getvalue())


def main(arguments=None):
    """Run the command line and return its exit code; an error is a line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # Not standalone: click would add its usage to an error, and exit with 2.
        code = commands.main(arguments or ["--help"], "python -m lib.tuned", standalone_mode=False)
        return code or 0
    except click.ClickException as error:
        message = error.format_message()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was written", err=True)
        return 130
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split())
    click.echo(f"error: {message}", err=True)
    return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
