"""The command line: fine-tune a source to one's own images, save the whole network, use it."""

import csv
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lib.advisor import exported, starts
from lib.advisor.fine_tuning import fine_tune, predict
from lib.datasets import labelled
from lib.runtime import files


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
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
        f"{out}: {start.constraint}, fine-tuned to {len(images)} images of {len(images.classes)} "
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is a line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        # Not standalone: click would add its usage to an error, and exit with 2.
        return commands.main(words, "python -m lib.advisor", standalone_mode=False) or 0
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
