"""Every configuration of a space, made one by one without the search."""

from __future__ import annotations

from itertools import product

from costmodel.results import Configuration, Scenario
from optimizer import Space, allowed_shapes
from optimizer.space import batch_grid
from presets import ClusterSpec


def every_configuration(
    space: Space, scenario: Scenario, cluster: ClusterSpec, users: int, frontends: int | None = None
) -> list[Configuration]:
    """All shapes, batches and numbers of workers, whether there is room for them or not."""
    return [
        Configuration(
            prefill_workers=prefill,
            prefill_gpus_per_worker=size,
            prefill_attention=attention,
            decode_workers=decode,
            decode_gpus_per_worker=shape.gpus,
            decode_ep=shape.ep,
            decode_attention=shape.attention,
            max_batch=batch,
            mtp_depth=shape.mtp_depth,
            eplb_slots=shape.eplb_slots,
            concurrency=users,
            frontends=frontends,
        )
        for shape, batch in product(
            allowed_shapes(space, scenario, cluster), batch_grid(space).tolist()
        )
        for decode, prefill, size, attention in product(
            space.decode_workers,
            space.prefill_workers,
            space.prefill_gpus,
            space.prefill_attention,
        )
    ]
