"""Figures, names and tables in one style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moeplan.render.layout import Paragraph, Table
from presets.cluster import in_unit_of_file
from presets.engines import load_engine

if TYPE_CHECKING:
    from costmodel.results import Configuration, Crossing
    from moeplan.answers.best import Best, Links, ScenarioSummary

DASH = "-"
"""Stands where there is no figure."""

ABBREVIATIONS = {"nic": "NIC", "nvlink": "NVLink", "hbm": "HBM", "gpus": "GPUs", "flops": "FLOP/s"}
"""Words in the names of facts that are not written as they are."""


SHORT_UNITS = {
    "cost": "$/M",
    "throughput": "tok/s/GPU",
    "output-cost": "$/M out",
    "power": "token/J",
    "gpus": "GPUs",
}
"""Units of the objectives, as short as a column takes them."""


def figure(value: float | None) -> str:
    """Write a figure with four significant digits.

    Examples
    --------
    >>> figure(5390.9), figure(126.11), figure(0.0123456), figure(None)
    ('5,391', '126.1', '0.01235', '-')
    """
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"


def plain(value: float) -> str:
    """Write a given figure, such as a rate from a datasheet, as short as it is.

    Examples
    --------
    >>> plain(900.0), plain(0.5), plain(1250.0)
    ('900', '0.5', '1,250')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def dollars(value: float | None) -> str:
    """Write a cost as the published tables do.

    Examples
    --------
    >>> dollars(0.148644)
    '0.1486'
    """
    return DASH if value is None else f"{value:.4f}"


def fact_name(name: str) -> str:
    """Write the name of a fact in words.

    Examples
    --------
    >>> fact_name("scale_out_latency"), fact_name("hbm_rate")
    ('scale-out latency', 'HBM rate')
    """
    spoken = name.replace("scale_", "scale-")
    return " ".join(ABBREVIATIONS.get(word, word) for word in spoken.split("_"))


def fact_value(name: str, value: float, unit: str) -> str:
    """Write a fact, given in SI, in the unit that a cluster file has for it.

    Examples
    --------
    >>> fact_value("scale_out_latency", 1.5e-6, "s"), fact_value("hbm_rate", 8e12, "B/s")
    ('1.5 us', '8,000,000,000,000 B/s')
    >>> fact_value("nic_kernel_factor", 1.69, "1")
    '1.69'
    """
    shown, unit = in_unit_of_file(name, value, unit)
    return with_unit(plain(shown), unit)


def with_unit(text: str, unit: str) -> str:
    """Write a figure with its unit, which a share or a factor has not.

    Examples
    --------
    >>> with_unit("5", "us"), with_unit("1.69", "1")
    ('5 us', '1.69')
    """
    return text if unit == "1" else f"{text} {unit}"


def titled(label: str, answer: Best) -> str:
    """Write the title of a machine, with its label in brackets where it has files or words."""
    return answer.title if label == answer.sku else f"{answer.title} ({label})"


def priced(prices: Sequence[tuple[str, str | None]]) -> str:
    """Join prices with the set that each is of; one set of all is named once.

    Examples
    --------
    >>> priced([("b200 at $1.73", "2026-07"), ("gb200 at $1.86", "2026-07")])
    'b200 at $1.73, gb200 at $1.86 (prices of 2026-07)'
    >>> priced([("b200 at $1.73", "2026-07"), ("gb200 at $9.00", None)])
    'b200 at $1.73 (prices of 2026-07), gb200 at $9.00'
    """
    ends = [f" (prices of {name})" if name else "" for _, name in prices]
    if len(set(ends)) == 1:
        return ", ".join(text for text, _ in prices) + ends[0]
    return ", ".join(text + end for (text, _), end in zip(prices, ends, strict=True))


def times(value: float | None) -> str:
    """Write a ratio.

    Examples
    --------
    >>> times(4.388)
    '4.39x'
    """
    return DASH if value is None else f"{value:.2f}x"


def percent(value: float | None) -> str:
    """Write a share of one.

    Examples
    --------
    >>> percent(0.0512)
    '5.1 %'
    """
    return DASH if value is None else f"{100 * value:.1f} %"


def chance(value: float | None) -> str:
    """Write a probability; none is certain.

    Examples
    --------
    >>> chance(0.5132), chance(0.9983), chance(0.0004)
    ('51 %', 'over 99 %', 'below 1 %')
    """
    if value is None:
        return DASH
    if 0.01 <= value <= 0.99:
        return f"{100 * value:.0f} %"
    return "over 99 %" if value > 0.5 else "below 1 %"


def span(bounds: tuple[float, float], digits: str = "") -> str:
    """Write an interval.

    Examples
    --------
    >>> span((4709.8, 6170.9))
    '4,710 .. 6,171'
    """
    low, high = bounds
    if digits:
        return f"{low:{digits}} .. {high:{digits}}"
    return f"{figure(low)} .. {figure(high)}"


def configuration_label(configuration: Configuration) -> str:
    """Name a configuration in few characters: workers x GPUs of both roles, then the rest."""
    copies = f" eplb {configuration.eplb_slots}" if configuration.eplb_slots else ""
    narrow = configuration.decode_ep != configuration.decode_gpus_per_worker
    return configuration.label + (f" ep {configuration.decode_ep}" if narrow else "") + copies


def served(scenario: ScenarioSummary) -> str:
    """Name what is served."""
    cached = f" ({percent(scenario.cached_share)} of them cached)" if scenario.cached_share else ""
    return (
        f"{scenario.model} in {scenario.precision} on {scenario.engine}, "
        f"{scenario.isl} tokens in{cached}, {scenario.osl} out"
    )


def count(number: int, noun: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> count(1, "worker"), count(5, "worker")
    ('1 worker', '5 workers')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def heading(text: str) -> Paragraph:
    """Make the first line of a report or of a part of it."""
    return Paragraph(text, indent=0, style="bold")


def paragraph(text: str) -> Paragraph:
    """Make a sentence under a heading."""
    return Paragraph(text)


def table(*columns: str, left: int = 1, rows: Sequence[Sequence[str]] = ()) -> Table:
    """Lay out rows of text.

    Parameters
    ----------
    columns : str
        Headings; one that begins with a new line is of the group of the one before.
    left : int
        How many columns are text, to the left; the others are figures, to the right. [1]
    rows : sequence of sequence of str
        Cells.
    """
    return Table(columns, left, rows)


def pairs(rows: Sequence[tuple[str, str]]) -> Table:
    """Lay out names and what they stand for."""
    return Table((), 2, rows)


def configuration_rows(configuration: Configuration) -> list[tuple[str, str]]:
    """Spell out a configuration."""
    copies = f", {configuration.eplb_slots} expert slots (EPLB)" if configuration.eplb_slots else ""
    holder = "rank" if configuration.decode_attention == "dp" else "worker"
    shared = ", attention tp" if configuration.prefill_attention == "tp" else ""
    prefill = (
        f"{count(configuration.prefill_workers, 'worker')} x "
        f"{count(configuration.prefill_gpus_per_worker, 'GPU')}{shared}"
    )
    decode = (
        f"{count(configuration.decode_workers, 'worker')} x "
        f"{count(configuration.decode_gpus_per_worker, 'GPU')}, "
        f"EP {configuration.decode_ep}, attention {configuration.decode_attention}{copies}"
    )
    pools = [("Prefill", prefill), ("Decode", decode)]
    draft = configuration.draft if configuration.mtp_depth else None
    return [
        *([("One pool", decode)] if configuration.is_aggregated else pools),
        ("Batch", f"{count(configuration.max_batch, 'request')} per {holder}"),
        ("Drafts", f"{DRAFT_TITLES[draft]} depth {configuration.mtp_depth}" if draft else "none"),
        ("Concurrency", count(configuration.concurrency, "request")),
    ]


DRAFT_TITLES = {"mtp": "MTP", "eagle3": "EAGLE-3", "dspark": "DSpark"}

LINK_NAMES = {
    "nvlink": "NVLink",
    "nic": "the NIC",
    "leaf_spine": "leaf-to-spine links",
    "spine_core": "spine-to-core links",
    "hall": "links between halls",
}


def links_sentence(links: Links, worker: str = "decode worker") -> str:
    """Say what the links give to one decode worker, or to one that does both."""
    if links.bottleneck is None or links.all_to_all_gb_s is None:
        return f"A {worker} is one GPU and crosses no link."
    return (
        f"A {worker} spans {count(links.domains, 'NVLink domain')}; its slowest link is "
        f"{LINK_NAMES[links.bottleneck]}: in an all-to-all of {links.gpus} GPUs each sends "
        f"{plain(links.all_to_all_gb_s)} GB/s, over a path of {plain(links.latency_us)} us."
        f"{_shared(links)}{_carried(links.exchange)}"
    )


def _shared(links: Links) -> str:
    """Say who else is on the worst link."""
    if not links.shared_with:
        return ""
    others, most = links.shared_with, 4
    named = ", ".join(others[:most]) + (f" and {len(others) - most} more" * (len(others) > most))
    return (
        f" It shares {links.slowest_link} with {named}, which makes the all-to-all "
        f"{plain(links.slowdown)} times as long while all are at work."
    )


def _carried(exchange: Crossing | None) -> str:
    """Say which kernel carries tokens across domains, and what would settle how long it takes."""
    if exchange is None:
        return ""
    text = (
        f" Tokens cross by {exchange.kernel}, which {exchange.engine} has: "
        f"{exchange.dispatch_format} there, {exchange.combine_format} back."
    )
    if exchange.two_batches:
        profile = load_engine(exchange.engine).exchange
        option = profile.two_batch_overlap if profile else None
        text += f" Two half batches overlap, one computing while the other is sent ({option})."
    if exchange.measured:
        return text
    return (
        f"{text} No measured row of this machine ran it: one run of a worker over 2 NVLink domains "
        "would settle it."
    )
