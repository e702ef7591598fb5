"""Two half batches that overlap: against published wide EP, and never worse than one batch."""

import numpy as np
import pytest

from benchmarks.wide_ep import is_within, predicted, published
from costmodel.engine_rules import exchange_of
from presets.engines import load_engine
from presets.folders import engine_names

ROWS = {row["name"]: row for row in published()}
H100 = ROWS["H100 EP72, 2k"]
SERIAL = {
    "H100 EP72, 2k": "H100 EP72, 2k, no overlap",
    "H100 EP72, 4k, simulated drafts": "H100 EP72, 4k, simulated drafts, no overlap",
}
"""Runs that were published with overlap and without."""


@pytest.mark.parametrize("name", SERIAL)
def test_overlap_gains_what_was_published(name: str) -> None:
    with_it, without = (
        predicted(ROWS[each])[0] / float(ROWS[each]["tok_s_per_gpu"])
        for each in (name, SERIAL[name])
    )
    assert with_it / without == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("batch", [128, 256])
def test_the_published_batches_of_h200_bracket_its_rate(batch: int) -> None:
    row = ROWS[f"H200 EP32, 2k/2k, batch {batch}"]
    assert is_within(row, predicted(row)[0] / float(row["tok_s_per_gpu"]))


@pytest.mark.parametrize(("batch", "gains"), [(32, False), (64, False), (128, True), (256, True)])
def test_overlap_pays_from_the_batch_on_from_which_it_was_measured_to(
    batch: int, gains: bool
) -> None:
    """Published for H100 EP72: 27 % slower at 32, 25.5 % quicker at 256, even from 64 to 128."""
    one, two = (predicted(H100, batch, two=each)[1] for each in (False, True))
    assert (two < one) == gains
    assert two <= one


@pytest.mark.parametrize("name", sorted(ROWS))
def test_no_batch_is_quicker_than_a_smaller_one_under_overlap(name: str) -> None:
    seconds = [
        predicted(ROWS[name], batch)[1] for batch in np.unique(np.geomspace(1, 2048, 60).round())
    ]
    assert np.all(np.diff(seconds) >= 0.0)


def test_overlap_hides_what_is_in_flight_and_costs_reads_and_launches_twice() -> None:
    slow, quick = (predicted(H100, 4096, two=each)[1] for each in (False, True))
    assert 0.5 < quick / slow < 0.8
    few, more = (predicted(H100, 1, two=each)[1] for each in (False, True))
    assert few == more


@pytest.mark.parametrize("engine", engine_names())
def test_an_engine_overlaps_by_an_option_that_it_takes(engine: str) -> None:
    profile = load_engine(engine)
    option = profile.exchange.two_batch_overlap if profile.exchange else None
    assert exchange_of(engine)["two_batches"] == (option is not None)
    assert option is None or option in profile.option_names
    assert (option is not None) == (engine in ("sglang", "vllm"))


def test_a_row_inside_a_domain_overlaps_nothing() -> None:
    inside = ROWS["GB200 EP48, 2k, FP8"]
    assert predicted(inside, two=True) == predicted(inside, two=False)
