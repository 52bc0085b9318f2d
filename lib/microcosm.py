"""The microcosm: a drawn world of ten shapes, each with a fine texture of its own.

As in photographs, two cues predict the class. The shape has high contrast and low spatial
frequency; the texture, a grating over the whole image, low contrast and high frequency: it is
the fragile cue that a small perturbation can erase. `draw` can also pull the two apart: the
shape of one class with the texture of another (the cue conflict of Geirhos et al., 2019), or
one cue alone.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.images import Images, indices, scale

SIZE = 32
CLASSES = (
    "disc", "ring", "square", "triangle", "cross", "star", "crescent", "heart", "bar", "arrow",
)  # fmt: skip
# One grating a class: five orientations at each of two wavelengths, in pixels.
WAVELENGTHS = (2.8, 4.0)
# Mean amplitude of the grating. At 0.05 naturally trained networks decide for the texture, as
# those trained on photographs do; at half of it, for the shape.
AMPLITUDE = 0.05
CUES = ("shapes", "gratings")
"""What `one_cue` can label images by."""
# Images are drawn in blocks of this size, each from a generator of its own, so that the first
# images of a long draw are those of a short one.
BLOCK = 500


def draw(
    n: int,
    seed: int,
    *,
    shape: int | Sequence[int] | Tensor | None = None,
    texture: int | Sequence[int] | Tensor | None = None,
    contrast: tuple[float, float] = (0.15, 0.5),
    amplitude: float = AMPLITUDE,
    size: int = SIZE,
) -> Images:
    """Draw n labelled images of 32 × 32 pixels.

    seed: the same seed draws the same images, and the first n of a longer draw. shape: class
    indices 0 to 9, (n,) or one for all, or None for balanced random classes; texture: likewise, or
    None for that of the shape's class. contrast: range of the shape's difference from its
    background, in pixel values of [0, 1]; (0, 0) leaves no shape. amplitude: of the grating, in
    pixel values: each image has its own, from 0 to twice this; 0 leaves no texture. size: pixels of
    a side to which what is drawn is scaled.

    Returns Images of uint8 (n, 3, size, size), labelled with the shape's class.
    Raises ValueError for n < 1, indices outside the classes or of another length than n, and
    contrasts or amplitudes outside [0, 1].
    """
    low, high = contrast
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 image must be drawn")
    if not 0 <= low <= high <= 1 or not 0 <= amplitude <= 1:
        raise ValueError(
            f"contrast is {contrast} and amplitude {amplitude}; allowed are 0 to 1, low to high"
        )
    shapes, textures = _indices("shape", shape, n), _indices("texture", texture, n)
    x = torch.empty(n, 3, size, size, dtype=torch.uint8)
    y = torch.empty(n, dtype=torch.int64)
    for number, start in enumerate(range(0, n, BLOCK)):
        stop = min(start + BLOCK, n)
        generator = torch.Generator().manual_seed(_block_seed(seed, number))
        drawn = torch.randperm(BLOCK, generator=generator)[: stop - start] % len(CLASSES)
        y[start:stop] = drawn if shapes is None else shapes[start:stop]
        marks = y[start:stop] if textures is None else textures[start:stop]
        block = _draw_block(y[start:stop], marks, generator, contrast, amplitude)
        x[start:stop] = scale(block.mul_(255).add_(0.5).to(torch.uint8), size)
    return Images(x, y, CLASSES)


def one_cue(cue: str, n: int, seed: int, *, size: int = SIZE) -> Images:
    """Draw n images labelled by one cue, while the other says nothing: it is drawn at random.

    cue: one of CUES. The rest: as in `draw`. Raises ValueError for another cue, and as `draw` does.
    """
    if cue not in CUES:
        raise ValueError(f"cue is {cue!r}; allowed are {' and '.join(CUES)}")
    generator = torch.Generator().manual_seed(_block_seed(seed, -1))
    texture = torch.randint(len(CLASSES), (n,), generator=generator)
    drawn = draw(n, seed, texture=texture, size=size)
    if cue == "shapes":
        return drawn
    names = tuple(f"{36 * (i % 5)}° {WAVELENGTHS[i // 5]:g} px" for i in range(len(CLASSES)))
    return Images(drawn.x, texture, names)


def _indices(name, value, n):
    """Check class indices given by the caller: one for each image, one for all, or None."""
    if value is None:
        return None
    value = torch.as_tensor(value, dtype=torch.int64)
    return indices(name, value.expand(n) if value.ndim == 0 else value, n, len(CLASSES))


def _block_seed(seed, number):
    """Mix the seed and the number of a block, so that neighbouring seeds share no block."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 1) % 2**63


def _draw_block(shape, texture, generator, contrast, amplitude):
    """Draw up to BLOCK images as float32 (n, 3, 32, 32) in [0, 1]."""

    def uniform(low, high, *size):
        drawn = torch.rand(BLOCK, *size, generator=generator)
        return (low + (high - low) * drawn)[: len(shape)]

    background = uniform(0.3, 0.7, 3, 1, 1) + _smooth(uniform(-0.15, 0.15, 3, 3, 3))
    colour = background.mean((2, 3), keepdim=True)
    # The shape's colour lies away from the background's, each channel up or down by `contrast`.
    step = uniform(*contrast, 3, 1, 1) * torch.where(uniform(0, 1, 3, 1, 1) < colour, -1.0, 1.0)
    angle, scale = uniform(-0.35, 0.35), uniform(0.5, 0.8)
    u, v = _coordinates(angle, scale, uniform(-0.2, 0.2), uniform(-0.2, 0.2))
    mask = _masks(shape, u, v, scale)[:, None]  # (n, 1, 32, 32)
    grating = _gratings(texture, uniform(0, 2 * math.pi))[:, None]  # (n, 1, 32, 32)
    # Of one image the shape is clearer, of another the texture, as in photographs.
    strength = amplitude * uniform(0, 2, 1, 1, 1)
    image = background + mask * step + strength * grating
    return image.clamp_(0, 1)


def _smooth(grid):
    """Enlarge (n, 3, 3, 3) values smoothly to (n, 3, 32, 32)."""
    return torch.nn.functional.interpolate(grid, (SIZE, SIZE), mode="bilinear", align_corners=True)


def _coordinates(angle, scale, shift_x, shift_y):
    """Pixel centres in each shape's own frame: u to the right, v upwards, radius about 1."""
    axis = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    right = axis[None, None, :] - shift_x[:, None, None]
    up = -axis[None, :, None] - shift_y[:, None, None]
    cos, sin = (f(angle)[:, None, None] / scale[:, None, None] for f in (torch.cos, torch.sin))
    return cos * right + sin * up, cos * up - sin * right


def _masks(shape, u, v, scale):
    """Soft masks (n, 32, 32) of the shapes: 1 inside, 0 outside, one pixel of transition."""
    distance = torch.empty_like(u)
    for index, signed in enumerate(_SHAPES):
        members = shape == index
        distance[members] = signed(u[members], v[members])
    pixel = 2 / SIZE / scale[:, None, None]
    return (0.5 - distance / pixel).clamp_(0, 1)


def _gratings(texture, phase):
    """Gratings (n, 32, 32) in [-1, 1], of the orientation and wavelength of their class."""
    angle = (texture % 5) * (math.pi / 5)
    wave = 2 * math.pi / torch.tensor(WAVELENGTHS)[texture // 5]
    pixels = torch.arange(SIZE, dtype=torch.float32)
    along_x = (wave * torch.cos(angle))[:, None, None] * pixels[None, None, :]
    along_y = (wave * torch.sin(angle))[:, None, None] * pixels[None, :, None]
    return torch.sin(along_x + along_y + phase[:, None, None])


# The shapes, as (approximate) signed distances to their outline: negative inside.


def _disc(u, v):
    return torch.hypot(u, v) - 0.85


def _ring(u, v):
    return (torch.hypot(u, v) - 0.68).abs() - 0.2


def _box(u, v, half_width, half_height):
    return torch.maximum(u.abs() - half_width, v.abs() - half_height)


def _square(u, v):
    return _box(u, v, 0.75, 0.75)


def _triangle(u, v):
    return torch.maximum(0.866 * u.abs() + 0.5 * v - 0.45, -v - 0.55)


def _cross(u, v):
    return torch.minimum(_box(u, v, 0.9, 0.27), _box(u, v, 0.27, 0.9))


def _star(u, v):
    # Fold the plane into one of ten sectors; in it, the star's outline is one straight line.
    sector = math.pi / 5
    angle = torch.remainder(torch.atan2(u, v) + sector, 2 * sector) - sector
    radius = torch.hypot(u, v)
    along, across = radius * torch.cos(angle), radius * torch.sin(angle).abs()
    return 0.37 * (along - 1.05) + 0.93 * across


def _crescent(u, v):
    return torch.maximum(torch.hypot(u, v) - 0.9, 0.75 - torch.hypot(u - 0.5, v))


def _heart(u, v):
    lobes = torch.hypot(u.abs() - 0.42, v - 0.3) - 0.45
    point = torch.maximum(0.75 * u.abs() - 0.66 * v - 0.6, v - 0.3)
    return torch.minimum(lobes, point)


def _bar(u, v):
    return _box(u, v, 0.28, 0.95)


def _arrow(u, v):
    head = torch.maximum(0.75 * u.abs() + 0.66 * v - 0.62, 0.1 - v)
    return torch.minimum(head, _box(u, v + 0.4, 0.2, 0.52))


_SHAPES = (_disc, _ring, _square, _triangle, _cross, _star, _crescent, _heart, _bar, _arrow)
