"""Whether a state dict fits a network, and how it is said where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

COUNTERS = "num_batches_tracked"
"""Of batch normalisation in training; weights from older torch have none."""


def misfit(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, counters: bool = False, most: int = 8
) -> str | None:
    """What keeps `given` from fitting `expected`, a network's own state: keys and shapes; None where it fits.

    Batch normalisation's step counters may be missing; with `counters` all or none. One value in a list fits a scalar,
    for which `load_state_dict` takes it. `most`: how many of each kind are named.
    """
    strict = counters and any(key.endswith(COUNTERS) for key in given)
    missing = [key for key in expected if key not in given and (strict or not key.endswith(COUNTERS))]
    unknown = [key for key in given if key not in expected]
    shapes = [
        f"{key} {list(given[key].shape)}, expected {list(value.shape)}"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape and not _from_before_0_4(given[key], value)
    ]
    return counted([("missing", missing), ("unknown", unknown), ("of another shape", shapes)], most) or None


def _from_before_0_4(given: Tensor, expected: Tensor) -> bool:
    """Torch 0.3 had no scalars; files that other programs wrote have none either."""
    return expected.dim() == 0 and given.shape == (1,)


def counted(kinds: Iterable[tuple[str, Sequence[str]]], most: int = 8) -> str:
    """ "2 missing (a, b), 1 unknown (c)": how many keys there are of each kind, and the first of them."""
    return ", ".join(f"{len(keys)} {what} ({listed(keys, most)})" for what, keys in kinds if keys)


def listed(keys: Sequence[object], most: int = 8) -> str:
    """The first `most` keys, and how many more there are."""
    return ", ".join(map(str, keys[:most])) + (f", and {len(keys) - most} more" if len(keys) > most else "")
