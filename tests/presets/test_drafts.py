import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import InputError, load_model
from presets.drafts import (
    DEEPEST,
    TEXTS,
    acceptance_entries,
    acceptance_of,
    draft_model,
    given_acceptance,
    rate_of_length,
    rates_of,
)
from presets.files import read_toml
from presets.folders import DATA


def test_every_measured_depth_is_given_back() -> None:
    for entry in acceptance_entries():
        found = acceptance_of(entry.models[0], entry.draft, entry.text)
        for depth in entry.lengths:
            # Single runs of depth 6 to 8 scatter, and a deeper draft is taken to keep no fewer.
            length = max(one for other, one in entry.lengths.items() if other <= depth)
            assert 1 + found.kept(depth) == pytest.approx(length, rel=0.04)


def test_fitted_acceptance_of_the_shipped_rows_is_exact() -> None:
    kept = [acceptance_of("deepseek-r1-0528", "mtp").kept(depth) for depth in (1, 2, 3)]
    assert kept == pytest.approx([0.774147, 1.17039, 1.33108], abs=1e-12)


@given(
    st.dictionaries(st.integers(1, DEEPEST), st.floats(1.0, DEEPEST + 1.0), min_size=1, max_size=6)
)
def test_rates_are_shares_that_never_rise(lengths: dict[int, float]) -> None:
    rates = rates_of(lengths)
    assert len(rates) == DEEPEST
    assert all(0.0 <= rate <= 1.0 for rate in rates)
    assert all(one >= other - 1e-12 for one, other in pairwise(rates))


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8))
def test_given_rates_are_kept_as_they_are(values: list[float]) -> None:
    rates = sorted(values, reverse=True)
    found = given_acceptance(tuple(rates))
    assert found.kept(len(rates)) == pytest.approx(math.fsum(rates))
    assert found.rates[-1] <= rates[-1]


@given(st.integers(1, DEEPEST), st.floats(0.01, 0.99))
def test_one_rate_gives_the_length_back(depth: int, rate: float) -> None:
    length = 1 + math.fsum(rate**step for step in range(1, depth + 1))
    assert rate_of_length(length, depth) == pytest.approx(rate, rel=1e-6)


def test_a_text_that_was_not_measured_is_that_of_others_times_a_factor() -> None:
    coding = acceptance_of("kimi-k2.5", "eagle3", "coding")
    other = acceptance_of("kimi-k2.5", "eagle3", "random")
    assert other.kept(4) == pytest.approx(coding.kept(4) / 1.15)
    assert other.spread > coding.spread
    assert other.deepest == 8


def test_a_model_that_was_not_measured_is_the_mean_of_others() -> None:
    found = acceptance_of("glm-4.5", "mtp")
    names = sorted({one.models[0] for one in acceptance_entries() if one.draft == "mtp"})
    known = [acceptance_of(name, "mtp").kept(2) for name in names]
    assert found.kept(2) == pytest.approx(np.mean(known))
    assert found.deepest == 0
    assert "none of glm-4.5 was measured" in found.source


def test_the_factors_of_texts_are_those_of_the_entries() -> None:
    facts = read_toml(DATA / "acceptance.toml", 100_000)["texts"]
    for text in TEXTS[1:]:
        ratios = []
        entries = {(e.models[0], e.draft, e.text): e.lengths.get(3) for e in acceptance_entries()}
        for (model, draft, kind), length in entries.items():
            plain = entries.get((model, draft, "random"))
            if kind == text and length and plain:
                ratios.append((length - 1) / (plain - 1))
        assert facts[text]["value"] == pytest.approx(np.exp(np.mean(np.log(ratios))), abs=0.005)


def test_what_a_model_cannot_draft_with_is_named() -> None:
    with pytest.raises(InputError, match="'mtp' is not known of gpt-oss-120b; valid: none, ea"):
        draft_model(load_model("gpt-oss-120b"), "mtp")
    with pytest.raises(InputError, match=r"valid: none, mtp, eagle3$"):
        draft_model(load_model("deepseek-r1"), "dspark")


def test_any_model_has_a_head_of_its_width() -> None:
    head = draft_model(load_model("glm-4.7"), "eagle3")
    assert head is not None
    assert head.kind == "assumed"
    assert head.layers.attention is not None
    assert head.layers.attention.heads % 8 == 0
