"""A whole network in one file that plain PyTorch loads, with what one has to know to use it."""

import io
import json
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lib.runtime import files

ABOUT = "about.json"
"""The name, within the file, of what is said of the network: classes, size and more."""


def save(
    network: nn.Module, path: str | Path, *, classes: Sequence[str], size: int, **about
) -> None:
    """Write a network as a program of `torch.export`, whole or not at all.

    What is loaded maps pixels (N, 3, size, size) of [0, 1], any N, to logits (N, C). It needs
    neither this project nor the library that the network comes from, but PyTorch of the same or a
    later version.

    network: in eval mode; left unchanged. path: of the file, .pt2. classes: the C names.
    about: what else to say of it, for JSON.

    Raises ValueError as `check` does, and OSError where the file cannot be written.
    """
    path = Path(path)
    check(path)
    device = next(network.parameters()).device
    example = torch.zeros(2, 3, size, size, device=device)
    noted = {"classes": list(classes), "size": size, "torch": torch.__version__, **about}
    content = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch on itself; what is saved is tested
        program = torch.export.export(
            network,
            (example,),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            strict=False,
        )
        torch.export.save(program, content, extra_files={ABOUT: json.dumps(noted)})
    files.replace(path, content.getvalue())


def check(path: str | Path) -> None:
    """Raise ValueError unless `save` can take the path: a .pt2 file in a folder that is there."""
    path = Path(path)
    if path.suffix != ".pt2":
        raise ValueError(f"the file is {path.name}; call it {path.stem}.pt2, PyTorch asks for that")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"there is no folder for the file {path}; make it, or name another file")


def load(path: str | Path) -> tuple[nn.Module, dict]:
    """Load what `save` wrote: (network, about), the network a module in eval mode.

    A file may hold code that runs when it is loaded: load your own. Raises ValueError where the
    file is missing, damaged or another's.
    """
    path, extra = Path(path), {ABOUT: ""}
    if not path.is_file():
        raise ValueError(f"there is no file {path}; name one that was saved after fine-tuning")
    try:
        with zipfile.ZipFile(path) as archive:  # first: PyTorch prints what it finds wrong
            broken = archive.testzip()
            if broken or not any(name.endswith(ABOUT) for name in archive.namelist()):
                raise ValueError(f"{broken or ABOUT} in it is {'broken' if broken else 'missing'}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra)
        about = json.loads(extra[ABOUT])
        about["classes"], about["size"]
    except Exception as error:  # whatever a damaged archive makes the reader raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged, or was not saved here: {reason[:150]}") from None
    return program.module(), about
