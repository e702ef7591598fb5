"""A cluster as a picture: switches and their links, domains, and every worker where it sits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, groupby, product
from typing import TYPE_CHECKING, NamedTuple

from moeplan.render.common import count
from moeplan.render.placement import ranges
from presets.parts import parts_of
from topology.build import cached_fabric, cut_off
from topology.cluster import out_of_use, read_layout
from topology.contention import LinkUse, group_loads, link_use
from topology.patterns import all_to_all

if TYPE_CHECKING:
    from moeplan.answers.placement import Domain
    from presets import ClusterSpec
    from topology.routes import Switch

MOST_ROWS = 40
"""Most rows of domains, and boxes of switches of a tier, before more of them are folded. [1]"""

CELL, PER_ROW, GAP, BOX, STEP = 24, 36, 16, 145, 270
"""Sizes of a GPU, GPUs side by side, space between rows, a switch's width, and columns. [px]"""

TIERS = {"hall-link": "Halls", "core": "Cores", "spine": "Spines", "leaf": "Leaves"}
"""Kinds of switch of the scale-out fabric from the left, with the title of their column."""

LEVELS = ((1.0 + 1e-9, "over"), (0.5, "busy"), (1e-12, "some"))
"""Least use of a link, and the class of its colour; idle below. [1]"""

STYLE = """
svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#1a1a1a}.t{font-weight:600}
.box{fill:#f2f2f2;stroke:#767676}.gpu{fill:#fff;stroke:#8a8a8a}.n{font-size:9px;text-anchor:middle}
.decode{fill:#9ecae9}.prefill{fill:#f5c77e}.both{fill:#a9dfbf}.away{fill:#d9d9d9}
line,path{fill:none}.idle{stroke:#a6a6a6}.some{stroke:#0072b2}.busy{stroke:#e69f00}
.over{stroke:#d55e00}.failed{stroke:#c00000;stroke-width:1.5}.cut{stroke-dasharray:5 4}
@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ececec}
.box{fill:#2a2a2a;stroke:#8c8c8c}.gpu{fill:#202020;stroke:#777}.decode{fill:#1f5f8b}
.prefill{fill:#8a5a00}.both{fill:#20704a}.away{fill:#484848}.idle{stroke:#6f6f6f}
.some{stroke:#56b4e9}.failed{stroke:#ff6b6b}}
"""


class Row(NamedTuple):
    """Domains that are drawn as one: numbers, and what each of their GPUs is."""

    domains: list[int]
    cells: tuple[tuple[str, str], ...]  # class and text of each GPU


class Box(NamedTuple):
    """Switches that are drawn as one."""

    kind: str
    numbers: tuple[int, ...]
    failed: bool


class Place(NamedTuple):
    """Where a box or a row is drawn [px]."""

    x: float
    y: float
    width: float
    height: float


def picture(cluster: ClusterSpec, placement: Sequence[Domain] = ()) -> str:
    """Draw a cluster as SVG, with the workers of a plan where there is one.

    Parameters
    ----------
    cluster : ClusterSpec
        The cluster.
    placement : sequence of Domain
        Of an answer; what stands on another machine is left out.

    Raises
    ------
    InputError
        If a worker is on GPUs that the cluster has not, or no link joins them.
    """
    drawing = _Drawing(cluster, [each for each in placement if each.sku == cluster.sku])
    return drawing.svg()


def page(cluster: ClusterSpec, placement: Sequence[Domain] = ()) -> str:
    """Draw as `picture` does, in an HTML page that needs no network."""
    title = escape(_title(cluster))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>:root{color-scheme:light dark}body{margin:0;overflow:auto}</style>"
        f"<body>{picture(cluster, placement)}</body></html>\n"
    )


def _title(cluster: ClusterSpec) -> str:
    return f"{cluster.hardware().title}: {count(cluster.gpus, 'GPU')}"


class _Drawing:
    """The parts of one picture, and where they are."""

    def __init__(self, cluster: ClusterSpec, placement: Sequence[Domain]) -> None:
        self.cluster, self.layout = cluster, read_layout(cluster)
        self.fabric, self.failed = cached_fabric(cluster), parts_of(cluster.failed)
        workers: dict[tuple[str, int, int], list[int]] = {}
        for domain in placement:
            for each in domain.workers:
                key = each.role, each.replica, each.worker
                workers.setdefault(key, []).extend(each.gpu_numbers)
        flows = [all_to_all(sorted(gpus)) for gpus in workers.values()]
        self.use: LinkUse = link_use(self.fabric, flows)
        self.nic_use = {
            gpu: load.by_kind.get("nic", 0.0) / (load.seconds or 1.0)
            for gpus, load in zip(workers.values(), group_loads(self.fabric, flows), strict=True)
            for gpu in gpus
        }
        self.rows = self._rows(workers)
        self.boxes = self._boxes()

    def svg(self) -> str:
        """Put all parts together."""
        places = self._places()
        height = max(place.y + place.height for place in places.values()) + 60
        width = max(place.x + place.width for place in places.values()) + 40
        width = max(width, 900.0)  # of the legend
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img"><style>{STYLE}</style>',
            _text(20, 26, _title(self.cluster), "t"),
            *self._links(places),
            *self._drawn_boxes(places),
            *self._drawn_rows(places),
            _legend(height - 24),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _rows(self, workers: dict[tuple[str, int, int], list[int]]) -> list[Row]:
        """Domains in order, runs that hold the same as one; more is folded where rows are many."""
        copies = any(replica > 1 for _, replica, _ in workers)
        cell_of: dict[int, tuple[str, str]] = {}
        for (role, replica, number), gpus in workers.items():
            name = f"{role[0].upper()}{number}" + (f".{replica}" if copies else "")
            cell_of.update(dict.fromkeys(gpus, (role, name)))
        away, apart = out_of_use(self.cluster), cut_off(self.cluster)
        dead = out_of_use(self.cluster.model_copy(update={"reserved": ()}))
        cell_of.update(dict.fromkeys(away, ("away", "R")))
        cell_of.update(dict.fromkeys(apart, ("away", "\N{EN DASH}")))
        cell_of.update(dict.fromkeys(dead, ("away failed", "")))
        empty = ("", "")
        cells = [
            tuple(cell_of.get(gpu, empty) for gpu in self.layout.gpus_of(domain))
            for domain in range(len(self.layout.domain_sizes))
        ]
        rows = _folded(cells)
        if len(rows) > MOST_ROWS:  # whoever the workers are, their roles
            rows = _folded([tuple((kind, "") for kind, _ in each) for each in cells])
        return rows if len(rows) <= MOST_ROWS else _together(rows)

    def _boxes(self) -> list[Box]:
        """Switches of each tier, those in a row that are alike as one."""
        graph, routes = self.fabric.scale_out.graph, self.fabric.scale_out.routes
        lost = {("leaf", each) for each in self.failed.leaf}
        lost |= {("spine", each) for each in self.failed.spine}
        lost |= {("core", each) for each in self.failed.core}
        rows_of: dict[Switch, set[int]] = {}
        for number, row in enumerate(self.rows):
            for leaf in self._leaves_of(row):
                rows_of.setdefault(("leaf", leaf), set()).add(number)
        boxes = []
        for kind in TIERS:
            switches = sorted({each for each in (*graph, *lost) if each[0] == kind})

            def alike(switch: Switch) -> object:
                # Of a kind all have the same neighbours; what is asked of the first will do.
                near = next(iter(graph.adj[switch]), None) if switch in graph else None
                use = round(self.use.of(switch, near), 2) if near else 0.0
                return routes.kind_of.get(switch), switch in lost, use, rows_of.get(switch)

            runs = [tuple(run) for _, run in groupby(switches, key=alike)]
            if len(runs) > MOST_ROWS:
                runs = [*runs[: MOST_ROWS - 1], tuple(chain(*runs[MOST_ROWS - 1 :]))]
            boxes += [Box(kind, tuple(number for _, number in run), run[0] in lost) for run in runs]
        return boxes

    def _leaves_of(self, row: Row) -> list[int]:
        plane = self.fabric.scale_out
        used = {
            int(plane.of_gpu[gpu]) for domain in row.domains for gpu in self.layout.gpus_of(domain)
        }
        return sorted({plane.attachments[each][0].switch[1] for each in used if each >= 0})

    def _places(self) -> dict[Box | int, Place]:
        """Rows on the right from top to bottom, switches left of them, spread as far."""
        kinds = [kind for kind in TIERS if any(box.kind == kind for box in self.boxes)]
        places: dict[Box | int, Place] = {}
        x, y = 20.0 + STEP * len(kinds), 70.0
        for number, row in enumerate(self.rows):
            lines = -(-len(row.cells) // PER_ROW)
            width = min(len(row.cells), PER_ROW) * CELL + 12
            places[number] = Place(x, y, max(width, 330), 26 + lines * CELL)
            y += places[number].height + GAP
        for column, kind in enumerate(kinds):
            own = [box for box in self.boxes if box.kind == kind]
            each = max((y - 70.0) / len(own), 34.0)
            for place, box in enumerate(own):
                middle = 70.0 + each * (place + 0.5)
                places[box] = Place(20.0 + STEP * column, middle - 13, BOX, 26)
        return places

    def _links(self, places: dict[Box | int, Place]) -> Iterator[str]:
        """Lines between switches of each two tiers, and from leaf switches to domains."""
        graph = self.fabric.scale_out.graph
        for one, other in product(self.boxes, self.boxes):
            # Switches of one box are alike, but for the last of a tier of many.
            some = product(_ends_of(one), _ends_of(other))
            ends = next((each for each in some if graph.has_edge(*each)), None)
            if ends and places[one].x < places[other].x:
                link = graph.edges[ends]
                rate = link["rate"] * link["cables"] * len(one.numbers)
                yield _line(places[one], places[other], rate, self.use.of(*ends))
        at = {(box.kind, number): box for box in self.boxes for number in box.numbers}
        for leaf, spine in sorted(self.failed.uplink):
            left, right = at.get(("spine", spine)), at.get(("leaf", leaf))
            if left and right:
                yield _broken(places[left], places[right])
        for number, row in enumerate(self.rows):
            gpus = [gpu for domain in row.domains for gpu in self.layout.gpus_of(domain)]
            use = max(self.nic_use.get(gpu, 0.0) for gpu in gpus)
            rate = self.layout.nic_rate * len(row.cells)
            leaves = {at.get(("leaf", leaf)) for leaf in self._leaves_of(row)} - {None}
            for box in sorted(box for box in leaves if box):
                yield _line(places[box], places[number], rate, use)

    def _drawn_boxes(self, places: dict[Box | int, Place]) -> Iterator[str]:
        for kind in dict.fromkeys(box.kind for box in self.boxes):
            own = [places[box] for box in self.boxes if box.kind == kind]
            yield _text(own[0].x, 56, TIERS[kind], "t")
        for box in self.boxes:
            x, y, width, height = places[box]
            numbers = tuple(box.numbers)
            yield _rect(places[box], "box", f"{box.kind} {ranges(numbers)}")
            many = f" ({len(numbers)})" if len(numbers) > 1 else ""
            yield _text(x + 6, y + 17, f"{box.kind} {ranges(numbers)}{many}"[:20])
            if box.failed:
                yield _cross(Place(x, y, width, height))

    def _drawn_rows(self, places: dict[Box | int, Place]) -> Iterator[str]:
        yield _text(places[0].x, 56, "Domains", "t")
        for number, row in enumerate(self.rows):
            x, y = places[number][:2]
            yield _rect(places[number], "box", "")
            many = f", {len(row.domains)} alike" if len(row.domains) > 1 else ""
            name = f"domain {_shortened(ranges(row.domains))}: {count(len(row.cells), 'GPU')}"
            yield _text(x + 6, y + 15, name + (f" each{many}" if many else ""))
            for place, (kind, text) in enumerate(row.cells):
                down, right = divmod(place, PER_ROW)
                cell = Place(x + 6 + right * CELL, y + 20 + down * CELL, CELL - 2, CELL - 2)
                gpu = self.layout.gpus_of(row.domains[0])[place]
                yield _rect(cell, f"gpu {kind.split()[0] if kind else ''}", f"GPU {gpu} {text}")
                if text:
                    yield _text(cell.x + CELL / 2 - 1, cell.y + 14, text, "n")
                if kind.endswith("failed"):
                    yield _cross(cell)


def _ends_of(box: Box) -> tuple[Switch, ...]:
    """First and last switch of a box."""
    return (box.kind, box.numbers[0]), (box.kind, box.numbers[-1])


def _folded(cells: Sequence[tuple[tuple[str, str], ...]]) -> list[Row]:
    """Make one row of domains in a row that hold the same; none of those with a name."""
    found: list[Row] = []
    for domain, own in enumerate(cells):
        if found and found[-1].cells == own and not any(text for _, text in own):
            found[-1].domains.append(domain)
        else:
            found.append(Row([domain], own))
    return found


def _together(rows: Iterable[Row]) -> list[Row]:
    """Make one row of all domains that hold the same, wherever they are; the commonest stay."""
    found: dict[tuple[tuple[str, str], ...], Row] = {}
    for row in rows:
        found.setdefault(row.cells, Row([], row.cells)).domains.extend(row.domains)
    return sorted(found.values(), key=lambda row: -len(row.domains))[:MOST_ROWS]


def _line(left: Place, right: Place, rate: float, use: float) -> str:
    """Draw a link: width by rate, colour by use."""
    colour = next((name for least, name in LEVELS if use >= least), "idle")
    width = min(max(1.0 + math.log2(max(rate / 50e9, 1.0)) * 0.7, 1.0), 9.0)
    said = f"{rate / 1e9:,.4g} GB/s, {100 * use:.0f} % asked"
    return (
        f'<line class="{colour}" stroke-width="{width:.1f}" {_ends(left, right)}>'
        f"<title>{said}</title></line>"
    )


def _broken(left: Place, right: Place) -> str:
    x, y = (left.x + left.width + right.x) / 2, (left.y + right.y + left.height) / 2
    cross = _cross(Place(x - 6, y - 6, 12, 12))
    return f'<line class="failed cut" {_ends(left, right)}/>{cross}'


def _ends(left: Place, right: Place) -> str:
    return (
        f'x1="{left.x + left.width:g}" y1="{left.y + left.height / 2:g}" '
        f'x2="{right.x:g}" y2="{right.y + right.height / 2:g}"'
    )


def _cross(place: Place) -> str:
    x, y, width, height = place
    path = f"M{x:g} {y:g}l{width:g} {height:g}M{x:g} {y + height:g}l{width:g} {-height:g}"
    return f'<path class="failed" d="{path}"/>'


def _rect(place: Place, kind: str, said: str) -> str:
    title = f"<title>{escape(said)}</title>" if said else ""
    return (
        f'<rect class="{kind}" x="{place.x:g}" y="{place.y:g}" width="{place.width:g}" '
        f'height="{place.height:g}" rx="3">{title}</rect>'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _shortened(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else text[: longest - 2] + " \N{HORIZONTAL ELLIPSIS}"


def _legend(y: float) -> str:
    names = (("idle", "idle"), ("some", "used"), ("busy", "half or more"), ("over", "overfull"))
    parts = []
    for place, (kind, name) in enumerate(names):
        x = 20 + 130 * place
        line = f'x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}"'
        parts.append(f'<line class="{kind}" stroke-width="4" {line}/>')
        parts.append(_text(x + 30, y + 4, name))
    parts.append(_text(550, y + 4, "D decode, P prefill, B both; R reserved, \N{EN DASH} cut off"))
    return "".join(parts)
