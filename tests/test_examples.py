"""Outputs and figures in the documents are those of the program as it is."""

from pathlib import Path

import pytest

from presets import load_prices, price_set_names
from tools.examples import renewed, table_under, timeless, write_examples

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKERS = ("\n<!-- output", "\n<!-- options")
MADE = [
    path for path in DOCUMENTS if any(each in path.read_text(encoding="utf-8") for each in MARKERS)
]
BLOCK = "<!-- output: presets list -->\n```\nold\n```\n"
ACCURACY = "# Errors\n\n## Rows\n\nTold.\n\n| figure | mean |\n| --- | --- |\n| TPOT | 4.7 |\n"
COPY = '<!-- table "Rows" of accuracy.md: mean, figure -->\n'


def test_documents_with_outputs_are_those_that_make_renews() -> None:
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").partition("tools.examples ")[2]
    assert rule.split("\n")[0].split() == [str(path.relative_to(ROOT)) for path in MADE]


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_outputs_are_those_of_the_program(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert timeless(renewed(text, path.parent)) == timeless(text), "run `make examples`"


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_every_output_of_the_program_stands_under_a_marker(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        if line.startswith("$ moeplan"):
            assert lines[place - 2].startswith("<!-- output"), line
            assert lines[place - 2].endswith(f": {line.removeprefix('$ moeplan ')} -->")


@pytest.mark.parametrize(("sku", "column"), [("gb200", 2), ("b200", 3)])
def test_prices_are_those_of_the_sets(sku: str, column: int) -> None:
    rows = table_under((ROOT / "docs/data-sources.md").read_text(encoding="utf-8"), "Prices")[2:]
    known = []
    for name in reversed(price_set_names()):
        price = load_prices(name).prices[sku]
        buyers = [price.value, *(other.value for other in price.alternatives)]
        known += [(name, value) for value in buyers[:3]]
        assert f"${price.value}" in DOCUMENTS[0].read_text(encoding="utf-8")
    assert [(row[0], float(row[column])) for row in rows] == known
    assert [row[4] for row in rows] == [f"{float(row[2]) / float(row[3]):.2f}" for row in rows]


def test_a_block_is_made_anew_and_the_rest_stays() -> None:
    text = renewed(f"before\n{BLOCK}after\n", ROOT)
    assert text.startswith("before\n<!-- output: presets list -->\n```\n$ moeplan presets list\n")
    assert text.endswith("```\nafter\n")
    assert "gb200" in text
    assert "old" not in text
    assert renewed(text, ROOT) == text


def test_a_block_may_end_before_a_line() -> None:
    text = renewed(BLOCK.replace("output:", 'output until "Models":'), ROOT)
    assert "gb200" in text
    assert "deepseek" not in text
    assert text.endswith("\n...\n```\n")


def test_a_block_that_differs_in_seconds_only_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.examples.printed", lambda command: "10 dominated; 0.25 s.\n")
    old = "<!-- output: best -->\n```\n$ moeplan best\n10 dominated;\n  12.50 s.\n```\n"
    assert renewed(old, ROOT) == old
    assert "0.25 s." in renewed(old.replace("10", "11"), ROOT)


def test_a_table_is_copied_by_columns(tmp_path: Path) -> None:
    (tmp_path / "accuracy.md").write_text(ACCURACY, encoding="utf-8")
    document = tmp_path / "README.md"
    document.write_text(f"{COPY}| old |\n\nafter\n", encoding="utf-8")
    write_examples([document])
    copied = "| mean | figure |\n| --- | --- |\n| 4.7 | TPOT |\n"
    assert document.read_text(encoding="utf-8") == f"{COPY}{copied}\nafter\n"


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        (BLOCK.replace("presets list", "presets show nothing"), "ended with status 2"),
        (BLOCK.replace("output:", 'output until "Nothing":'), "no line begins with 'Nothing'"),
        (COPY.replace('"Rows"', '"Columns"'), "no table stands under 'Columns'"),
        (COPY.replace("mean", "median"), "no column 'median'; it has figure, mean"),
    ],
)
def test_a_marker_that_cannot_be_met_is_refused(marker: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "accuracy.md").write_text(ACCURACY, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        renewed(marker, tmp_path)
