"""What measured rows span: outside of it a prediction is extrapolated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from costmodel.calibration import Coverage
from costmodel.deployments import case_of
from costmodel.intervals import narrow_ep_of
from costmodel.observations import configuration_key
from costmodel.own_cluster import nics_of
from presets import ServingRow, load_hardware

ENOUGH = 8
"""Configurations from which a machine, model, precision or engine counts as measured. [1]

From as many an interval is set, too; fewer may be fitted, but say little of the next one.
"""


def coverage_of(rows: Sequence[ServingRow]) -> Coverage:
    """Collect what measured rows span, those of one pool apart."""
    two = [row for row in rows if row.serving == "disaggregated"]
    one = [row for row in rows if row.serving == "aggregated"]
    spanned = _coverage_of(two) if two else NOTHING
    return spanned.model_copy(update={"aggregated": _coverage_of(one)}) if one else spanned


def _coverage_of(rows: Sequence[ServingRow]) -> Coverage:
    """Collect what rows of one mode span."""
    crossing = [
        row
        for row in rows
        if row.decode_gpus_per_worker > load_hardware(row.sku).gpus_per_domain.value
    ]
    copied = [row for row in rows if row.eplb_slots]
    narrow = [row for row in rows if row.decode_ep < row.decode_gpus_per_worker]
    return Coverage(
        rows=len(rows),
        skus=_measured(rows, lambda row: row.sku),
        crossing_skus=_measured(crossing, lambda row: row.sku),
        crossing_gpus=max((row.decode_gpus_per_worker for row in crossing), default=0),
        exchanges=tuple(sorted({row.exchange for row in crossing if row.exchange})),
        nics=tuple(sorted({nics_of(case_of(row).cluster) for row in rows if row.nic_gb_s})),
        models=_measured(rows, lambda row: row.model),
        precisions=_measured(rows, lambda row: row.precision),
        engines=_measured(rows, lambda row: row.framework or "trtllm"),
        drafts=_measured(rows, lambda row: row.draft),
        isl=(min(row.isl for row in rows), max(row.isl for row in rows)),
        osl=(min(row.osl for row in rows), max(row.osl for row in rows)),
        decode_gpus=(
            min(row.decode_gpus_per_worker for row in rows),
            max(row.decode_gpus_per_worker for row in rows),
        ),
        tp_gpus=_tp_gpus(rows),
        max_batch_dp=_batches(rows, "dp"),
        max_batch_tp=_batches(rows, "tp"),
        prefill_attentions=tuple(
            sorted(
                {
                    "dp" if row.prefill_gpus_per_worker == 1 else row.prefill_attention
                    for row in rows
                }
            )
        ),
        prefill_gpus=_prefill_gpus(rows),
        narrow_ep=tuple(
            sorted(
                {
                    narrow_ep_of(
                        load_hardware(row.sku),
                        row.precision,
                        row.decode_attention,
                        row.decode_gpus_per_worker,
                        row.decode_ep,
                    )
                    for row in narrow
                }
            )
        ),
        eplb_skus=tuple(sorted({row.sku for row in copied})),
        eplb_slots=(
            min((row.eplb_slots for row in copied), default=0),
            max((row.eplb_slots for row in copied), default=0),
        ),
    )


NOTHING = Coverage(
    rows=0,
    skus=(),
    crossing_skus=(),
    models=(),
    precisions=(),
    engines=(),
    isl=(0, 0),
    osl=(0, 0),
    decode_gpus=(0, 0),
    tp_gpus=(0, 0),
    max_batch_dp=(0, 0),
    max_batch_tp=(0, 0),
    prefill_attentions=(),
    prefill_gpus=(0, 0),
)
"""What no rows span."""


def _measured(rows: Iterable[ServingRow], name_of: Callable[[ServingRow], str]) -> tuple[str, ...]:
    """Names that `ENOUGH` configurations or more have, sorted."""
    found: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
    for row in rows:
        found[name_of(row)].add(configuration_key(row))
    return tuple(sorted(name for name, keys in found.items() if len(keys) >= ENOUGH))


def _prefill_gpus(rows: Sequence[ServingRow]) -> tuple[int, int]:
    """Span of prefill workers inside one NVLink domain; (0, 0) where no row has one."""
    sizes = [
        row.prefill_gpus_per_worker
        for row in rows
        if row.prefill_gpus_per_worker <= load_hardware(row.sku).gpus_per_domain.value
    ]
    return (min(sizes), max(sizes)) if sizes else (0, 0)


def _tp_gpus(rows: Sequence[ServingRow]) -> tuple[int, int]:
    """Span of attention tp inside one NVLink domain; (0, 0) where no row has it."""
    sizes = [
        row.decode_gpus_per_worker
        for row in rows
        if row.decode_attention == "tp"
        and row.decode_gpus_per_worker <= load_hardware(row.sku).gpus_per_domain.value
    ]
    return (min(sizes), max(sizes)) if sizes else (0, 0)


def _batches(rows: Sequence[ServingRow], attention: str) -> tuple[int, int]:
    """Span of the batch under one attention mode; (0, 0) where no row has it."""
    sizes = [row.max_batch for row in rows if row.decode_attention == attention]
    return (min(sizes), max(sizes)) if sizes else (0, 0)


def joined_coverage(first: Coverage, second: Coverage) -> Coverage:
    """Join what two calibrations rest on."""

    def span(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        known = [pair for pair in (a, b) if pair != (0, 0)]
        return (min(pair[0] for pair in known), max(pair[1] for pair in known)) if known else (0, 0)

    values: dict[str, object] = {
        "rows": first.rows + second.rows,
        "crossing_gpus": max(first.crossing_gpus, second.crossing_gpus),
    }
    for name in (
        "skus",
        "crossing_skus",
        "exchanges",
        "nics",
        "models",
        "precisions",
        "engines",
        "drafts",
        "prefill_attentions",
        "narrow_ep",
        "eplb_skus",
    ):
        values[name] = tuple(sorted({*getattr(first, name), *getattr(second, name)}))
    for name in (
        "isl",
        "osl",
        "decode_gpus",
        "tp_gpus",
        "max_batch_dp",
        "max_batch_tp",
        "prefill_gpus",
        "eplb_slots",
    ):
        values[name] = span(getattr(first, name), getattr(second, name))
    pools = [each.aggregated for each in (first, second) if each.aggregated is not None]
    values["aggregated"] = joined_coverage(*pools) if len(pools) == 2 else next(iter(pools), None)
    values["corpus"] = first.corpus or second.corpus
    return Coverage.model_validate(values)
