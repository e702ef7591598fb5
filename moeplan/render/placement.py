"""Where every worker goes, in a few lines: equal NVLink domains side by side are one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from moeplan.answers.placement import Domain, WorkerPart
from moeplan.render.common import count

ROLES = {"prefill": "prefill", "decode": "decode", "both": "worker"}
"""Roles of workers, and what one of each is called."""

Kind = tuple[str, int, int]
"""Role of a worker, its GPUs in a domain, and all its GPUs."""


def placement_lines(placement: Sequence[Domain]) -> list[str]:
    """Say what stands in each NVLink domain, or server where that is one.

    Returns
    -------
    list of str
        One line for each run of domains that hold the same, and one more where workers have better
        links than those that their prediction takes.
    """
    mixed = len({domain.sku for domain in placement}) > 1
    workers = [worker for domain in placement for worker in domain.workers]
    copies = any(worker.replica > 1 for worker in workers)
    lines = [_line(list(run), mixed, copies) for _, run in groupby(placement, key=_content)]
    astray = [worker for worker in workers if not worker.links_as_priced]
    groups = [[each for each in astray if each.role == role] for role in ROLES]
    if named := ", ".join(_names(group, copies) for group in groups if group):
        lines.append(f"predicted with the links of the slowest of its role, but faster: {named}")
    return lines


def placement_rows(placement: Sequence[Domain]) -> list[tuple[str, str]]:
    """Lines of a placement beside its name, as the other rows of a configuration."""
    lines = placement_lines(placement)
    return [("" if place else "Placement", line) for place, line in enumerate(lines)]


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers in few characters.

    Examples
    --------
    >>> ranges([5, 1, 2, 3])
    '1-3, 5'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _line(domains: list[Domain], mixed: bool, copies: bool) -> str:
    """Say what stands in each of several equal domains."""
    first, several = domains[0], len(domains) > 1
    where = f"{first.unit}{'s' * several} {ranges(domain.domain for domain in domains)}"
    groups = _by_kind([worker for domain in domains for worker in domain.workers])
    said = [
        f"{_names(workers, copies)} ({_size(kind, workers, first.unit, several)})"
        for kind, workers in groups.items()
    ]
    if first.free_gpus:
        said.append(f"{first.free_gpus} free" + " in each" * several)
    return f"{first.sku} " * mixed + f"{where}: {', '.join(said)}"


def _content(domain: Domain) -> tuple[object, ...]:
    """Give what domains that are said together have in common."""
    return domain.sku, domain.free_gpus, frozenset(Counter(map(_kind, domain.workers)).items())


def _kind(worker: WorkerPart) -> Kind:
    return worker.role, worker.gpus, worker.of_gpus


def _by_kind(workers: Sequence[WorkerPart]) -> dict[Kind, list[WorkerPart]]:
    groups: dict[Kind, list[WorkerPart]] = {}
    for worker in workers:
        groups.setdefault(_kind(worker), []).append(worker)
    return groups


def _size(kind: Kind, workers: Sequence[WorkerPart], unit: str, several: bool) -> str:
    """Say how many GPUs each of some workers has, in one or in several domains."""
    _, here, whole = kind
    each = " each" * (len({(worker.replica, worker.worker) for worker in workers}) > 1)
    if here == whole:
        return count(whole, "GPU") + each
    return f"{whole} GPUs{each}, {here} to a {unit}" if several else f"{here} of {whole} GPUs{each}"


def _names(workers: Sequence[WorkerPart], copies: bool) -> str:
    """Name workers of one role by number, and by replica where there are several."""
    role = ROLES[workers[0].role]
    numbers: dict[int, set[int]] = {}
    for worker in workers:
        numbers.setdefault(worker.replica, set()).add(worker.worker)
    if not copies:
        return f"{role} {ranges(numbers[1])}"
    alike: dict[str, list[int]] = {}
    for replica, found in numbers.items():
        alike.setdefault(ranges(found), []).append(replica)
    return ", ".join(
        f"{role} {found} of replica{'s' * (len(replicas) > 1)} {ranges(replicas)}"
        for found, replicas in alike.items()
    )
