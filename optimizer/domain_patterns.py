"""What may stand in an NVLink domain together: patterns, so that equal domains are counted.

A pattern says how many pieces of each size larger than a server a domain holds, and what then is
left for smaller ones. Domains in which the same is free have the same patterns.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from presets import ClusterSpec
from topology.cluster import read_layout
from topology.placement import NOTHING, Domain, domains_by_kind, pieces_of

MOST_PATTERNS = 2000
"""Patterns of one kind of domain; where there were more, small pieces count by their GPUs. [1]"""


class Pattern(NamedTuple):
    """One way to fill a domain.

    Attributes
    ----------
    pieces : tuple of int
        How many of each large size. [1]
    rest : int
        Free GPUs that they leave. [GPU]
    """

    pieces: tuple[int, ...]
    rest: int


class DomainKind(NamedTuple):
    """Domains in which the same is free.

    Attributes
    ----------
    domains : tuple of int
        Their numbers.
    patterns : tuple of Pattern
        Ways to fill one of them; the first leaves it to small pieces.
    """

    domains: tuple[int, ...]
    patterns: tuple[Pattern, ...]


class Domains(NamedTuple):
    """The domains of a cluster and the pieces of workers that stand in them.

    Attributes
    ----------
    large : tuple of int
        Sizes of pieces that patterns count, rising: those larger than a server. [GPU]
    kinds : tuple of DomainKind
    domain : int
        GPUs of the largest domain. [GPU]
    """

    large: tuple[int, ...]
    kinds: tuple[DomainKind, ...]
    domain: int

    def pieces(self, size: int) -> tuple[tuple[int, ...], int]:
        """Count the large pieces of a worker by size, and the GPUs of its small ones [GPU]."""
        every = pieces_of(size, self.domain)
        small = sum(piece for piece in every if piece not in self.large)
        return tuple(every.count(large) for large in self.large), small


def domains_of(
    cluster: ClusterSpec,
    sizes: Sequence[int],
    lost: frozenset[int] = NOTHING,
    content: Mapping[int, Hashable] = MappingProxyType({}),
) -> Domains:
    """Find the patterns in which workers of some sizes fill the domains of a cluster.

    Parameters
    ----------
    cluster : ClusterSpec
        The cluster, empty.
    sizes : sequence of int
        Sizes of workers. [GPU]
    lost : frozenset of int, optional
        Numbers of GPUs that no worker can have.
    content : mapping, optional
        What else tells domains apart, by their numbers.

    Notes
    -----
    Pieces no larger than a server count by their GPUs: of powers of two nothing is lost to gaps;
    for others this promises no less than there is room for.

    Examples
    --------
    >>> from presets import default_cluster
    >>> rack = domains_of(default_cluster("gb200", 144), [4, 32, 40])
    >>> rack.large, [len(kind.domains) for kind in rack.kinds]
    ((32, 40), [2])
    >>> for pattern in rack.kinds[0].patterns:
    ...     print(pattern.pieces, pattern.rest)
    (0, 0) 72
    (0, 1) 32
    (1, 0) 40
    (1, 1) 0
    (2, 0) 8
    """
    layout = read_layout(cluster)
    domain, server = layout.gpus_per_domain, layout.server
    pieces = {piece for size in sizes for piece in pieces_of(size, domain)}
    large = tuple(sorted(piece for piece in pieces if piece > server))
    kinds = domains_by_kind(cluster, lost)
    while True:
        found = {kind: _patterns(kind, large, server) for kind in kinds}
        if all(len(patterns) <= MOST_PATTERNS for patterns in found.values()):
            break
        large = large[1:]
    named = [
        DomainKind(numbers, patterns)
        for kind, patterns in found.items()
        for numbers in _parted(kinds[kind], content)
    ]
    return Domains(large, tuple(named), domain)


def _parted(numbers: Sequence[int], content: Mapping[int, Hashable]) -> list[tuple[int, ...]]:
    """Part domains by what tells them apart."""
    found: dict[Hashable, list[int]] = {}
    for number in numbers:
        found.setdefault(content.get(number), []).append(number)
    return [tuple(each) for each in found.values()]


def _patterns(kind: Domain, large: tuple[int, ...], server: int) -> tuple[Pattern, ...]:
    """Fill a domain in all ways; large pieces take servers that are whole."""
    free = sum(gpus for gpus, _ in kind)
    # Of whole servers those that a domain cuts short are left to pieces that fill no server.
    servers = sum(is_whole and gpus == server for gpus, is_whole in kind)
    odd = sum(gpus for gpus, is_whole in kind if is_whole and gpus < server)
    needed = [max(-(-(size - odd) // server), 0) for size in large]
    patterns = []
    for counts in _counts(needed, servers):
        used = sum(count * size for count, size in zip(counts, large, strict=True))
        if used <= free:
            patterns.append(Pattern(counts, free - used))
        if len(patterns) > MOST_PATTERNS:
            break
    return tuple(patterns)


def _counts(needed: Sequence[int], servers: int) -> Iterator[tuple[int, ...]]:
    """List how many of each piece there may be, by the servers that each takes."""
    if not needed:
        yield ()
        return
    most = servers // needed[0] if needed[0] else servers
    for count in range(most + 1):
        for rest in _counts(needed[1:], servers - count * needed[0]):
            yield (count, *rest)
