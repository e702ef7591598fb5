"""Facts, models and measurement tables with their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moeplan.catalogue import (
    HardwarePreset,
    ModelPreset,
    NicPreset,
    Preset,
    PricePreset,
    TablePreset,
    bits_of,
)
from moeplan.render.common import (
    configuration_label,
    count,
    heading,
    pairs,
    paragraph,
    plain,
    table,
    with_unit,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from presets import Fact, Provenance

WIDEST = 98
"""Characters that the columns of a measurement table may take together. [1]"""

LABEL = "configuration"
LABEL_WIDTH = 24
"""Characters of the label of a configuration, broken into lines. [1]"""

FIRST = ("sku", LABEL, "recipe", "precision")
"""Columns that say what was run."""


def list_report(entries: dict[str, list[dict[str, str]]]) -> list[RenderableType]:
    """Lay out the names by kind."""
    parts: list[RenderableType] = []
    for kind, each in entries.items():
        parts += [heading(kind.capitalize()), pairs([(e["name"], e["what"]) for e in each]), ""]
    return [*parts, paragraph("`moeplan presets show NAME` prints one with its sources.")]


def preset_report(found: Preset, rows: int) -> list[RenderableType]:
    """Lay out one preset with its sources."""
    if isinstance(found, HardwarePreset):
        hardware = found.hardware
        title = f"{hardware.name}: {hardware.title}, {hardware.kernel_profile}"
        note = f" {hardware.note}." if hardware.note else ""
        return _facts(title, f"Per GPU; rates of links are one way.{note}", found.facts)
    if isinstance(found, NicPreset):
        title = f"{found.nic.name}: {found.nic.title}"
        return _facts(title, "What crossing its fabric costs besides its rate.", found.facts)
    if isinstance(found, PricePreset):
        title = f"{found.prices.name}: {found.prices.title}"
        return _facts(title, "Per GPU; assumptions, not quotes.", found.facts)
    if isinstance(found, ModelPreset):
        return _model(found)
    return _table(found, rows)


def _facts(title: str, note: str, facts: dict[str, Fact]) -> list[RenderableType]:
    """Figures in one table, sources below it: a source is longer than a column."""
    rows = [
        [name, _value(fact.value), fact.unit, fact.kind, fact.date.isoformat()]
        for name, fact in facts.items()
    ]
    parts: list[RenderableType] = [
        heading(title),
        paragraph(note),
        table("Fact", "Value", "Unit", "Kind", "Date", rows=rows),
        "",
        heading("Sources"),
    ]
    return parts + [paragraph(f"{name}: {_fact_source(fact)}") for name, fact in facts.items()]


def _fact_source(fact: Fact) -> str:
    text = _source(fact)
    for other in fact.alternatives:
        note = f" ({other.note})" if other.note else ""
        value = with_unit(_value(other.value), fact.unit)
        text += f" Otherwise {value}: {other.source}, {other.date}{note}."
    return text


def _source(provenance: Fact | Provenance) -> str:
    note = f" {provenance.note}." if provenance.note else ""
    return f"{provenance.source}.{note}"


def _model(found: ModelPreset) -> list[RenderableType]:
    model = found.model
    parameters = model.published_parameters
    parts: list[RenderableType] = [
        heading(f"{model.name}: {model.title} ({model.hf_id})"),
        table("Architecture", "Value", rows=[[k, str(v)] for k, v in found.architecture.items()]),
        paragraph(f"{model.provenance.kind}, {model.provenance.date}: {_source(model.provenance)}"),
    ]
    if parameters:
        parts += [
            paragraph(
                f"{_value(parameters.value)} parameters as published "
                f"({parameters.kind}, {parameters.date}): {_source(parameters)}"
            )
        ]
    kept = found.kept
    lengths = next(iter(kept.values()))
    parts += [
        "",
        heading("Cache and state of a request, in bytes"),
        table(
            "Tokens",
            *kept,
            rows=[
                [tokens, *(f"{each[tokens]:,.0f}" for each in kept.values())] for tokens in lengths
            ],
        ),
    ]
    bits = {name: bits_of(precision) for name, precision in found.precisions.items()}
    rows = [
        [part, *(f"{each[part]:g}" if part in each else "" for each in bits.values())]
        for part in next(iter(bits.values()))
    ]
    parts += ["", heading("Bits per weight, scales included"), table("Part", *bits, rows=rows)]
    return parts + [
        paragraph(f"{name} ({each.kind}, {each.date}): {_source(each)}")
        for name, each in found.precisions.items()
    ]


def _table(found: TablePreset, rows: int) -> list[RenderableType]:
    """First rows of a measurement table; what all rows share is said once."""
    lines = [_shortened(line) for line in found.lines()]
    shared = {name for name in lines[0] if len({line[name] for line in lines}) == 1}
    common = [f"{name} {_cell(lines[0][name])}" for name in shared if lines[0][name] is not None]
    names = [name for name in lines[0] if name not in shared]
    given = [name for name in names if any(line[name] is not None for line in lines[:rows])]
    empty = [name for name in names if name not in given]
    shown = _fitting(given, lines[:rows])
    left_out = [name for name in given if name not in shown]
    parts: list[RenderableType] = [
        heading(f"{found.name}: {count(len(lines), 'row')}"),
        paragraph(f"{found.provenance.kind}, {found.provenance.date}: {_source(found.provenance)}"),
        *([paragraph(f"The same in all rows: {', '.join(sorted(common))}.")] if common else []),
        "",
        table(
            *[name.replace("_", "\n") for name in shown],
            left=sum(name in FIRST for name in shown),
            rows=[[_cell(line[name]) for name in shown] for line in lines[:rows]],
        ),
    ]
    if empty:
        parts.append(paragraph(f"Columns empty in these rows: {', '.join(empty)}."))
    if left_out:
        parts.append(paragraph(f"Columns left out for width: {', '.join(left_out)}."))
    if len(lines) > rows:
        parts.append(paragraph(f"{len(lines) - rows:,} more rows; --rows COUNT shows them."))
    return [*parts, paragraph("--csv prints all columns of all rows.")]


def _shortened(line: dict[str, Any]) -> dict[str, Any]:
    """Replace the columns of a configuration by its label, and put what is named first."""
    # Imported here: listing the presets needs no cost model.
    from costmodel.results import Configuration

    names = Configuration.model_fields
    if all(name in line for name in names):
        chosen = Configuration.model_validate({name: line[name] for name in names})
        label = {LABEL: configuration_label(chosen), "users": chosen.concurrency}
        line = label | {name: value for name, value in line.items() if name not in names}
    return {name: line[name] for name in FIRST if name in line} | line


def _fitting(names: list[str], lines: list[dict[str, Any]]) -> list[str]:
    """Columns that find room: what was run, then figures, then other text."""
    widths = {
        name: 3 + max(len(part) for part in [*name.split("_"), *(_cell(x[name]) for x in lines)])
        for name in names
    }
    widths[LABEL] = LABEL_WIDTH

    def rank(name: str) -> int:
        figures = any(isinstance(line[name], int | float) for line in lines)
        return 0 if name in FIRST else 1 if figures and "median" not in name else 2

    chosen, room = set(), WIDEST
    for name in sorted(names, key=rank):
        if widths[name] <= room:
            chosen.add(name)
            room -= widths[name]
    return [name for name in names if name in chosen]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value(value: float) -> str:
    return f"{value:.4g}" if value >= 1e6 else plain(value)
