"""Further sets that come inside libraries, and that no chapter uses by default.

Here is where one is added: a function from (split, size) to Images of uint8 (N, 3, size, size), and
its name in SETS. Unlike `lib.datasets.bundled`, nothing in this module makes a chapter stale.
"""

from collections.abc import Callable

from lib.images import Images

SETS: dict[str, Callable[[str, int], Images]] = {}
"""Each maps (split, size) to Images; split is "train" or "test", and the two share no image."""
