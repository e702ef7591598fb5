"""The accuracy report: rendered from real validations, without the minutes of fitting."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import costmodel.accuracy
import costmodel.corpus_accuracy
import tools.accuracy
from costmodel import Validation, load_calibration, validate
from costmodel.accuracy import Accuracy
from costmodel.calibration_file import shipped_calibration
from costmodel.corpus import Apart, corpus_of
from costmodel.corpus_accuracy import (
    CorpusAccuracy,
    errors_in_folds,
    errors_left_out,
    errors_of_one_given,
)
from costmodel.validation import serving_row_of
from moeplan.cli import main
from moeplan.render.accuracy import markdown, summary
from moeplan.render.corpus import markdown as corpus_markdown
from presets import corpus_rows, published_rows, serving_rows


@pytest.fixture(scope="module")
def accuracy() -> Accuracy:
    calibration = load_calibration()
    rows: Validation = validate(serving_rows()[:20], calibration)
    published = validate([serving_row_of(row) for row in published_rows()], calibration)
    return Accuracy(
        rows,
        {"b200": rows},
        {"drafts": rows.of(range(5))},
        published,
        published,
        {"dispatch": {8: 0.0789, 64: 0.1}, "combine": {8: 0.04}},
    )


def test_report_prints_each_error_once_measured(accuracy: Accuracy) -> None:
    text = markdown(accuracy)
    mean = accuracy.cross_validated.statistics()["tpot"]["mape"]
    assert mean is not None
    assert f"| TPOT | 20 | {100 * mean:.1f} |" in text
    assert f"| b200 | 20 | {100 * mean:.1f} |" in text
    assert "| drafts | 5 |" in text
    assert "| kernel | EP 8 | EP 64 | mean |" in text
    assert "| dispatch | 7.9 | 10.0 | 8.9 |" in text
    assert "| combine | 4.0 |  | 4.0 |" in text
    assert "| all | 5.9 | 10.0 | 7.3 |" in text
    assert "nan" not in text.lower()
    assert text.count("## 20 published rows") == 1


def test_summary_holds_the_same_figures(accuracy: Accuracy) -> None:
    figures = summary(accuracy)
    assert figures["published"] == accuracy.published.statistics()
    assert figures["kind_left_out"] == {"drafts": accuracy.kind_left_out["drafts"].statistics()}
    assert figures["width_left_out"] == {
        "dispatch": {"8": 0.0789, "64": 0.1},
        "combine": {"8": 0.04},
    }


def test_worse_predictions_show(accuracy: Accuracy) -> None:
    tpot = accuracy.published.figures["tpot"]
    doubled = replace(tpot, predicted=2.0 * tpot.predicted)
    worse = replace(accuracy.published, figures=accuracy.published.figures | {"tpot": doubled})
    mean = worse.statistics()["tpot"]["mape"]
    assert mean is not None
    assert mean > 0.5
    assert f"| TPOT | 20 | {100 * mean:.1f} |" in markdown(replace(accuracy, published=worse))


@pytest.fixture(scope="module")
def public() -> CorpusAccuracy:
    """Every 100th row of the corpus, errors of 0.1, 0.15 and 0.2; in a left-out group of 2.0."""
    corpus = corpus_of(corpus_rows()[::100])

    def errors(size: int, tpot: float) -> Apart:
        figures = {"tpot": tpot, "throughput": 0.1, "ttft": math.nan}
        return Apart(
            {name: np.full(size, value) for name, value in figures.items()},
            np.full(size, 0.15), np.full(size, 0.2), np.ones(size), np.full(size, 0.05),
        )  # fmt: skip

    own = np.flatnonzero(corpus.fitted)[:5]
    left_out = {"some": (own, errors(len(own), 2.0))}
    return CorpusAccuracy(corpus, errors(len(corpus.rows), 0.1), left_out)


def test_command_prints_the_report(
    accuracy: Accuracy,
    public: CorpusAccuracy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(costmodel.accuracy, "measure_accuracy", lambda *_: accuracy)
    monkeypatch.setattr(costmodel.corpus_accuracy, "measure_corpus", lambda *_: public)
    assert main(["validate", "--cross-validate"]) == 0
    shown = capsys.readouterr().out
    assert "20 published rows" in shown
    assert "Accuracy on the public corpus" in shown
    assert main(["validate", "--cross-validate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["width_left_out"]
    assert found["corpus"]["in_folds"]["all"]["rows"] == np.count_nonzero(public.corpus.fitted)


def test_errors_on_the_corpus_are_those_of_the_logarithms(public: CorpusAccuracy) -> None:
    file = shipped_calibration()
    found = errors_in_folds(public, file)["all"]
    assert found.tpot == pytest.approx((math.expm1(0.1), math.expm1(0.1)))
    assert found.tpot_physics == pytest.approx((math.expm1(0.2), math.expm1(0.2)))
    assert found.inside == 1.0
    assert found.ttft is None
    (left_out,) = errors_left_out(public, file).values()
    assert left_out.inside == 0.0
    text = corpus_markdown(public, file)
    assert f"| all | {found.rows} | 10.5 / 10.5 | 100.0 | 16.2 / 16.2 | 22.1 / 22.1 |" in text
    assert "nan" not in text.lower()
    given = errors_of_one_given(public)["all"]
    assert (given.before[0], given.after[0]) == pytest.approx((math.expm1(0.1), math.expm1(0.05)))
    assert given.narrower == pytest.approx(0.5)
    assert f"| all | {given.rows} | 10.5 / 10.5 | 5.1 / 5.1 | 0.50 |" in text


@pytest.mark.parametrize("more", [["rows.csv"], ["--csv"], ["--output", "x.csv"]])
def test_cross_validation_takes_no_rows(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--cross-validate", *more]) == 2
    assert "--cross-validate" in capsys.readouterr().err


def test_rows_or_cross_validation_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 2
    assert "ROWS.csv is missing" in capsys.readouterr().err


def test_report_is_written_whole(
    accuracy: Accuracy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tools.accuracy, "measure_accuracy", lambda *_: accuracy)
    tools.accuracy.write_report(tmp_path / "accuracy.md")
    assert (tmp_path / "accuracy.md").read_text() == tools.accuracy.NOTICE + markdown(accuracy)
    assert list(tmp_path.iterdir()) == [tmp_path / "accuracy.md"]
