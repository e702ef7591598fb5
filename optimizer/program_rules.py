"""What the integer program decides and what it keeps: the tables that docs/search.md has."""

from __future__ import annotations

from typing import NamedTuple

RATE = 2**24
"""Demand of a tier in the program: rates count in parts of it. [1]"""


class Described(NamedTuple):
    """A variable or a rule of the program, as documents have it."""

    name: str
    unit: str
    what: str
    reason: str


VARIABLES = (
    Described(
        "decode[t,w,g]",
        "workers",
        "workers of g GPUs that decode for tier t in way w",
        "A way is a machine, and whether these workers prefill what they decode. Workers of one "
        "size take the same room and cost the same: which of its shapes they have is left to the "
        "exact evaluation.",
    ),
    Described(
        "prefill[k]",
        "workers",
        "workers of prefill pool k",
        "A pool is a machine, a shape of prefill worker and a tier that leads it; the last for "
        "tiers without a limit on TTFT, of which two pools would be no better than one.",
    ),
    Described(
        "feeds[k,t]",
        "0 or 1",
        "whether pool k feeds tier t",
        "Any set of tiers of a model may share a pool. Workers that prefill their own are one.",
    ),
    Described(
        "domains[m,j,p]",
        "domains",
        "NVLink domains of kind j on machine m that are filled by pattern p",
        "Domains in which the same is free are alike: they are counted, not named.",
    ),
    Described(
        "used[t,w,g]",
        "0 or 1",
        "whether tier t has workers of g GPUs that decode in way w; only with spares",
        "Only what is in use needs spares.",
    ),
    Described(
        "beyond[c,x]",
        "0 or 1",
        "whether cut c is met by more of x",
        "A cut is met where anything has more workers than what was refused.",
    ),
    Described(
        "below[c,x]",
        "0 or 1",
        "whether cut c is met by fewer of x",
        "A cut for room is met where anything has fewer workers than what found none.",
    ),
    Described(
        "kept[r,j]",
        "workers",
        "workers of kind r that stay in domains of kind j; only after a loss",
        "A worker that stays keeps its GPUs, its shape and its slots. Domains in which different "
        "workers run are of different kinds.",
    ),
)


RULES = (
    Described(
        "demand",
        f"parts of the demand, {RATE:,} of each tier",
        "the decode workers of a tier yield its rate, each at its largest batch, rounded up",
        "More no batch yields that meets the target; of workers that prefill as well, none that "
        "leaves them time to prefill and keeps TTFT where no request queues.",
    ),
    Described(
        "spare",
        f"parts of the demand, {RATE:,} of each tier",
        "the demand is served while spare workers of any one size of a tier are away",
        "Workers fail; those of a size in use are N + spares.",
    ),
    Described(
        "left",
        "workers",
        "a size in use has more workers than may be away",
        "What is left serves its share.",
    ),
    Described(
        "used",
        "workers",
        "a size that is not in use has no workers",
        "Ties the choice of `used` to the counts.",
    ),
    Described(
        "fed",
        "pools",
        "each tier is fed by one pool",
        "Requests of a tier are alike; a second pool would only halve the first.",
    ),
    Described(
        "stands",
        "workers",
        "workers of a tier that decode are of the way of its pool",
        "KV caches are handed over inside one machine, and not where workers prefill.",
    ),
    Described(
        "load",
        f"{RATE:,} parts of a worker",
        "a pool has the workers that its tiers take at the highest load, and spares",
        "Loads add up.",
    ),
    Described(
        "alone",
        "workers",
        "a pool has as many workers as each of its tiers takes by itself, and spares",
        "With fewer the wait before prefill alone is too long, though requests of others be short.",
    ),
    Described(
        "together",
        "workers",
        "a pool has as many workers as its tiers take together, and spares",
        "With fewer one of them waits too long. Added for sets of tiers that were chosen; others "
        "only add to the load, unless their requests are shorter.",
    ),
    Described(
        "led",
        "0 or 1",
        "a pool feeds others only where it feeds the tier that leads it",
        "So that each set of tiers is one choice alone.",
    ),
    Described(
        "empty",
        "workers",
        "a pool that is not there has none",
        "Its workers would feed nobody.",
    ),
    Described(
        "room",
        "domains",
        "patterns fill no more domains than there are",
        "Domains are counted by kind.",
    ),
    Described(
        "pieces",
        "pieces of workers",
        "patterns hold all pieces larger than a server, by size",
        "A worker that fits a domain never leaves it.",
    ),
    Described(
        "rest",
        "GPUs",
        "what patterns leave holds all smaller pieces",
        "Workers of powers of two fill servers without gaps.",
    ),
    Described(
        "budget",
        "1e-6 USD/h",
        "the GPUs of all workers cost no more than the budget",
        "GPUs that serve are paid.",
    ),
    Described(
        "power",
        "1e-6 W",
        "the GPUs of all workers draw no more than the power that there is",
        "All-in power of a GPU that serves.",
    ),
    Described(
        "racks",
        "domains",
        "patterns fill no more domains than there may be racks",
        "A domain that holds no worker is not needed.",
    ),
    Described(
        "cut",
        "0 or 1",
        "something has more workers than what the exact evaluation refused",
        "Fewer workers, all else equal, serve no more.",
    ),
    Described(
        "no room",
        "0 or 1",
        "something has fewer workers than what first fit by falling size found no room for",
        "Of odd sizes first fit may miss a packing; plans stand as it places them.",
    ),
    Described(
        "fewer",
        "workers",
        "such a cut is met by a count only where that is smaller",
        "Ties the choice of `below` to the counts.",
    ),
    Described(
        "most",
        "workers",
        "a cut is met by a count only where that is larger",
        "Ties the choice of `beyond` to the counts.",
    ),
    Described(
        "kept",
        "workers",
        "no more stay than the plan has of what they may go on as",
        "Prefill workers may go on in any pool of their shape and model.",
    ),
    Described(
        "stays",
        "workers, or GPUs of small ones",
        "domains hold, by the patterns that fill them, those that stay in them",
        "What has to make room is moved.",
    ),
    Described(
        "fewest",
        "workers",
        "no more workers are started than the fewest",
        "Starting few comes before the objective.",
    ),
)
"""Constraints of the program."""


def documented() -> str:
    """Write the variables and the rules as the tables that docs/search.md has."""
    lines = ["| variable | unit | is | why |", "|---|---|---|---|"]
    lines += [f"| `{v.name}` | {v.unit} | {v.what} | {v.reason} |" for v in VARIABLES]
    lines += ["", "| rule | unit | says | why |", "|---|---|---|---|"]
    lines += [f"| {rule.name} | {rule.unit} | {rule.what} | {rule.reason} |" for rule in RULES]
    return "\n".join(lines)
