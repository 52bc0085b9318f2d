"""A whole network in one file that plain PyTorch loads, with what one has to know to use it."""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.attacks import evaluating
from lib.runtime import files
from lib.zoo.weights import first_line

ABOUT = "about.json"
"""The name, within the file, of what is said of the network: classes, size and more."""


def save(
    network: nn.Module, path: str | Path, *, classes: Sequence[str], size: int, **about
) -> None:
    """Write a network, in eval mode, as a program of `torch.export`, whole or not at all.

    What is loaded maps pixels (N, 3, size, size) of [0, 1], any N, to logits (N, C). It needs
    neither this project nor the library that the network comes from, but PyTorch of the same or a
    later version. What the file computes is compared with the network before it is written.

    network: left unchanged. path: of the file, .pt2. classes: the C names. about: what else to say
    of it, for JSON.

    Raises ValueError as `check` does, for another number of names than of outputs, for weights or
    outputs that are not finite, and for a file that would compute something else; OSError where it
    cannot be written.
    """
    path = Path(path)
    check(path)
    _finite(network.state_dict())
    device = next(network.parameters()).device
    x = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    noted = {"classes": list(classes), "size": size, "torch": torch.__version__, **about}
    with evaluating(network), torch.no_grad():
        expected = network(x)
        if expected.shape[1] != len(classes):
            raise ValueError(f"{expected.shape[1]} classes need as many names, not {len(classes)}")
        content = _program(network, x[:2], noted)
        back, _ = _read(content)
        if not torch.allclose(back(x), expected, rtol=1e-3, atol=1e-3):
            raise ValueError("the exported network computes something else; it was not saved")
    files.replace(path, content)


def check(path: str | Path) -> None:
    """Raise ValueError unless `save` can take the path: a .pt2 file in a folder that is there.

    Raises OSError where nothing can be written there.
    """
    check_name(path, ".pt2")
    files.check(Path(path))


def check_name(path: str | Path, suffix: str) -> None:
    """Raise ValueError unless a path ends on a suffix and lies in a folder that is there.

    So a mistyped command cannot overwrite a picture, or a network by a table.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"the file is {path.name}; call it {path.stem}{suffix}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"there is no folder for the file {path}; make it, or name another file")


def load(path: str | Path) -> tuple[nn.Module, dict]:
    """Load what `save` wrote: (network, about), the network a module in eval mode.

    A file may hold code that runs when it is loaded: load your own. Raises ValueError where the
    file is missing, damaged or another's, and where its weights are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; name one that was saved after fine-tuning")
    try:
        with zipfile.ZipFile(path) as archive:  # first: PyTorch prints what it finds wrong
            broken = archive.testzip()
            if broken or not any(name.endswith(ABOUT) for name in archive.namelist()):
                raise ValueError(f"{broken or ABOUT} in it is {'broken' if broken else 'missing'}")
        network, about = _read(path.read_bytes())
        about["classes"], about["size"]
    except Exception as error:  # whatever a damaged archive makes the reader raise
        reason = first_line(error)[:150]
        raise ValueError(f"{path} is damaged, or was not saved here: {reason}") from None
    _finite(network.state_dict())
    return network, about


def _program(network, example, noted):
    """Export a network, and return the bytes of the file."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch on itself; what is saved is tested
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(network, (example,), dynamic_shapes=batch, strict=False)
        torch.export.save(program, content, extra_files={ABOUT: json.dumps(noted)})
    return content.getvalue()


def _read(content):
    """Return (module, about) of the bytes of a file."""
    extra = {ABOUT: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(io.BytesIO(content), extra_files=extra)
    return program.module(), json.loads(extra[ABOUT])


def _finite(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError, naming one, where weights are not finite."""
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"the weights {name} are not finite; lower lr, or name another source")
