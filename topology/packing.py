"""How many NVLink domains workers of two sizes fill, for arrays of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from topology.cluster import Layout

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Groups = tuple[IntArray, IntArray]
"""Sizes of workers [GPU], and how many of each size [1]."""


def domains_filled(layout: Layout, first: Groups, second: Groups) -> IntArray:
    """Count the domains that `pack_workers` fills, were there no end of whole ones.

    Parameters
    ----------
    layout : Layout
        Of the cluster; its number of GPUs is not looked at.
    first, second : tuple of array of int
        Sizes of workers [GPU] and their numbers, of shapes that broadcast.

    Returns
    -------
    array of int
        [1]

    Notes
    -----
    The largest workers come first, each in the first domain with room: domains then hold as many
    of the larger as they can, but for one, and the smaller fill the gaps of those before they take
    domains of their own.

    Examples
    --------
    Of 40 and 24 GPUs a rack of 72 holds one each; a second 40 needs the next, where 8 are free.

    >>> from presets import default_cluster
    >>> from topology.cluster import read_layout
    >>> rack = read_layout(default_cluster("gb200", 72))
    >>> ones, twos = np.array([1, 2]), np.array([1, 3])
    >>> domains_filled(rack, (np.array(40), ones), (np.array(24), twos)).tolist()
    [1, 3]
    """
    domain, node = layout.gpus_per_domain, layout.server
    (a, of_a), (b, of_b) = first, second
    whole = a // domain * of_a + b // domain * of_b
    a, b = a % domain, b % domain
    large, small = np.maximum(a, b), np.minimum(a, b)
    of_large, of_small = np.where(a >= b, of_a, of_b), np.where(a >= b, of_b, of_a)
    of_large, of_small = of_large * (large > 0), of_small * (small > 0)
    # Of size 0 there are none: any size will do.
    large, small = np.maximum(large, 1), np.maximum(small, 1)

    def room(held: IntArray, size: IntArray) -> IntArray:
        return _room(node, domain // node, large, held, size)

    none = np.zeros_like(large)
    most = room(none, large)
    full, rest = np.divmod(of_large, most)
    beside = full * room(most, small) + np.where(rest > 0, room(rest, small), 0)
    left = np.maximum(of_small - beside, 0)
    return np.asarray(whole + full + (rest > 0) - (-left // room(none, small)))


def _room(node: int, nodes: int, large: IntArray, held: IntArray, small: IntArray) -> IntArray:
    """Count the workers that find room in a domain of some nodes which holds larger ones."""
    each = np.maximum(node // large, 1)  # of a node; one that spreads over nodes has its own
    full, over = np.divmod(held, each)
    spreads = large > node
    untouched = nodes - np.where(spreads, full * -(-large // node), full + (over > 0))
    gap = np.where(spreads, -large % node, node - each * large)
    gaps = full * (gap // small) + np.where(over > 0, (node - over * large) // small, 0)
    alone = untouched // -(-small // node)
    return np.asarray(np.where(small > node, alone, gaps + untouched * (node // small)))
