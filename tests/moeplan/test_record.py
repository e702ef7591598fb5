"""Answers in print, in a notebook, as rows, and from several threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import moeplan
from moeplan.answers.record import Answer
from tests.samples import changed

if TYPE_CHECKING:
    from optimizer import Space
    from tests.moeplan.conftest import BestOf


def shown(space: Space) -> list[Answer]:
    return [
        moeplan.best("b200", 75.0, space=space),
        moeplan.best("b200", 5000.0, space=space),
        moeplan.curve("b200", [75.0, 5000.0], space=space),
        moeplan.compare(["gb200", "b200"], [75.0], space=space),
        moeplan.predict("b200", changed(concurrency=128)),
    ]


def test_each_answer_is_one_line_and_a_table(space: Space) -> None:
    for answer in shown(space):
        assert "\n" not in repr(answer)
        assert len(repr(answer)) < 160
        assert str(answer) == repr(answer)
        page = str(answer._repr_html_())
        assert page.startswith("<pre")
        assert page.endswith("</pre>")
        rows = answer.to_rows()
        assert all(list(row) == list(rows[0]) for row in rows)
        assert all(not isinstance(value, list | dict) for row in rows for value in row.values())


def test_rows_say_what_the_answer_says(best_of: BestOf) -> None:
    answer = best_of("b200", 75.0)
    (row,) = answer.to_rows()
    assert answer.prediction is not None
    assert row["tpot_ms"] == answer.prediction.tpot_ms
    assert row["status"] == "optimal"
    assert f"{answer.prediction.total_tok_s_per_gpu:,.0f} tok/s/GPU" in repr(answer)


def test_a_row_can_be_read_alone(best_of: BestOf) -> None:
    found = best_of("gb200", 75.0)
    config, question = found.config, found.to_json()["question"]
    assert config is not None
    (row,) = found.to_rows()
    columns = list(row)
    assert columns.index("measured_usd_per_m_total_tokens") < columns.index("gpus")
    assert (row["gpus"], found.to_json()["gpus"]) == (config.gpus, config.gpus)
    assert row["version"] == found.to_json()["version"] == version("moeplan")
    assert row["concurrency"] == config.concurrency
    for key, value in question.items():
        assert row[f"asked_{key}" if key in ("concurrency", "frontends", "draft") else key] == value
    assert found.prediction is not None
    assert row["extrapolated_in"] == "; ".join(found.prediction.extrapolated_in)


def test_a_row_of_a_prediction_can_be_read_alone() -> None:
    cluster = moeplan.ClusterSpec(sku="b200", gpus=72, nic_gb_s=100.0)
    options = moeplan.Options(isl=2048, price=3.0, cluster=cluster)
    answer = moeplan.predict(None, changed(), options)
    (row,) = answer.to_rows()
    assert (row["model"], row["isl"], row["price_usd_per_hour"]) == ("deepseek-r1-0528", 2048, 3.0)
    assert (row["gpus"], answer.to_json()["gpus"]) == (answer.config.gpus, answer.config.gpus)
    assert json.loads(row["cluster"]) == answer.to_json()["question"]["cluster"]


def test_an_answer_without_a_configuration_says_why(space: Space) -> None:
    answer = moeplan.best("b200", 5000.0, space=space)
    assert repr(answer) == "Best(b200 at 5000 tok/s/user: infeasible)"
    assert "Infeasible: 5000 tok/s/user is out of reach" in str(answer._repr_html_())


def test_user_text_is_escaped_in_html(space: Space) -> None:
    cluster = moeplan.ClusterSpec(sku="b200", gpus=72, name="<script>alert(1)</script>")
    answer = moeplan.best(None, 75.0, moeplan.Options(cluster=cluster), space=space)
    page = str(answer._repr_html_())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_threads_find_what_one_finds(space: Space) -> None:
    targets = [30.0, 60.0, 90.0, 120.0]
    alone = [moeplan.best("gb200", target, space=space) for target in targets]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(pool.map(lambda t: moeplan.best("gb200", t, space=space), targets * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert (one.config, one.prediction) == (other.config, other.prediction)


def test_only_whole_answers_are_shown() -> None:
    with pytest.raises(NotImplementedError):
        repr(Answer())
