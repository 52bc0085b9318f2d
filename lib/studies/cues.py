"""Images with one cue taken away, for any image set: maps of uint8 (N, 3, H, W) to the same.

What removes a cue on an image that comes without its parts can only do so about: each docstring
says what is left of the other cue.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import fold, interpolate, unfold

from lib.kinds import low_passed


def without_texture(x: Tensor) -> Tensor:
    """Flatten what varies little around each pixel, and keep strong edges.

    Total-variation denoising (Rudin, Osher and Fatemi, 1992): the image nearest to x of small
    total variation, which weighs 0.1. Strong textures stay, corners of shapes are rounded.
    """
    from skimage.restoration import denoise_tv_chambolle  # slow to import

    return _each(x, lambda image: denoise_tv_chambolle(image, weight=0.1, channel_axis=-1))


def without_shape(x: Tensor, seed: int = 0) -> Tensor:
    """Give each image random phases, the same for its channels, and keep its amplitudes.

    How strong each orientation and frequency is, stays, and with it a texture that is a grating;
    where anything lies, is lost (Oppenheim and Lim, 1981). seed: of the phases.
    """
    noise = torch.rand(len(x), 1, *x.shape[2:], generator=torch.Generator().manual_seed(seed))
    phases = torch.fft.fft2(noise - noise.mean((2, 3), keepdim=True)).angle()
    phases[..., 0, 0] = 0  # the mean colour stays
    spectrum = torch.fft.fft2(x.float())
    return _to_uint8(torch.fft.ifft2(spectrum * torch.polar(torch.ones(()), phases)).real)


def with_other_texture(x: Tensor, seed: int = 0) -> Tensor:
    """Keep the phases of each image, and give it the amplitudes of another one.

    Where edges lie stays; how strong each orientation and frequency is, and with it much of the
    texture, is of an image of any class (Oppenheim and Lim, 1981). seed: of which is whose.
    """
    spectrum = torch.fft.fft2(x.float())
    other = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return _to_uint8(torch.fft.ifft2(torch.polar(spectrum[other].abs(), spectrum.angle())).real)


def silhouettes(x: Tensor) -> Tensor:
    """Paint the object black on white: what differs most from the colour of the border.

    The border's mean colour stands for the background, Otsu's threshold (1979) parts the
    distances to it in two. An object that touches the border, or has its colour, is cut.
    """
    from skimage.filters import threshold_otsu  # slow to import
    from torchvision.transforms.v2.functional import gaussian_blur  # and this

    smooth = gaussian_blur(x.float(), 3)
    border = torch.ones(x.shape[2:], dtype=torch.bool)
    border[2:-2, 2:-2] = False
    background = smooth[:, :, border].mean(2)[:, :, None, None]
    distance = (smooth - background).norm(dim=1).numpy()
    inside = np.stack([image > threshold_otsu(image) for image in distance])
    return torch.from_numpy(255 * (1 - inside.astype(np.uint8)))[:, None].repeat(1, 3, 1, 1)


def edges(x: Tensor) -> Tensor:
    """Draw the edges of any channel (Canny, 1986), black on white.

    The blur before has a standard deviation of one pixel; what is finer is not drawn.
    """
    from skimage.feature import canny  # slow to import

    def draw(image):
        lines = np.any([canny(image[..., c], sigma=1.0) for c in range(3)], axis=0)
        return np.repeat(1.0 - lines[..., None], 3, axis=-1)

    return _each(x, draw)


def shuffled(x: Tensor, parts: int, seed: int = 0) -> Tensor:
    """Cut each image into parts × parts patches and lay them in random order.

    The texture stays within each patch, the shape is taken apart. parts: 1 (nothing) and more,
    a divisor of H and W. seed: of the orders, one for each image.
    """
    size = x.shape[2] // parts, x.shape[3] // parts
    patches = unfold(x.float(), size, stride=size)  # (N, values of a patch, patches)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(x), parts * parts, generator=generator).argsort(1)
    moved = patches.take_along_dim(order[:, None], dim=2)
    return _to_uint8(fold(moved, x.shape[2:], size, stride=size))


def low_pass(x: Tensor, cutoff: float) -> Tensor:
    """Blur as `lib.kinds.low_passed` does. cutoff, errors: as there."""
    return _to_uint8(low_passed(x, cutoff))


def high_pass(x: Tensor, cutoff: float) -> Tensor:
    """Take away what `low_pass` leaves, on mid-grey. cutoff, errors: as in `low_pass`."""
    return _to_uint8(127.5 + x.float() - low_passed(x, cutoff))


def low_resolution(x: Tensor, size: int) -> Tensor:
    """Scale down to `size` pixels a side and up again, as the paper does with its targets.

    size: 1 to the image's own.
    """
    small = interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
    return _to_uint8(interpolate(small, x.shape[2:], mode="bilinear"))


def _each(x, change):
    """Apply a map of float (H, W, 3) in [0, 1] to each image."""
    images = x.permute(0, 2, 3, 1).numpy() / 255.0
    changed = np.stack([change(image) for image in images])
    return _to_uint8(torch.from_numpy(255 * changed).permute(0, 3, 1, 2))


def _to_uint8(x):
    return x.round().clamp(0, 255).to(torch.uint8).contiguous()
