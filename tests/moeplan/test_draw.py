"""Pictures of clusters, read as XML."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from costmodel.results import Configuration
from moeplan.answers.placement import placement_of
from moeplan.cli import make_app
from moeplan.render.picture import MOST_ROWS, picture
from optimizer.resources import Resources
from presets import ClusterSpec, ScaleOut

SVG = "{http://www.w3.org/2000/svg}"
WORN = "sku: b200\ngpus: 96\nname: <a&b>\nfailed: [leaf 2, gpu 81, uplink 1/1]\n"


def shape(prefill: tuple[int, int], decode: tuple[int, int]) -> Configuration:
    return Configuration(
        prefill_workers=prefill[0],
        prefill_gpus_per_worker=prefill[1],
        decode_workers=decode[0],
        decode_gpus_per_worker=decode[1],
        decode_ep=decode[1],
        decode_attention="dp",
        max_batch=8,
        mtp_depth=0,
        concurrency=8,
    )


def texts(drawn: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawn).iter(f"{SVG}text")]


def classes(drawn: str, tag: str) -> list[str]:
    return [each.get("class", "") for each in ET.fromstring(drawn).iter(f"{SVG}{tag}")]


def test_every_worker_is_where_it_sits_and_full_links_are_coloured() -> None:
    cluster = ClusterSpec(sku="b200", gpus=96, scale_out=ScaleOut(oversubscription=3.0))
    drawn = picture(cluster, placement_of(shape((1, 4), (2, 40)), Resources(cluster)))
    found = texts(drawn)
    assert [found.count(name) for name in ("D1", "D2", "P1")] == [40, 40, 4]
    lines = classes(drawn, "line")
    # Both workers send over the uplinks of the second leaf; the others are half full, NICs as well.
    assert lines.count("over") == 1 + 1  # and one in the legend
    assert lines.count("busy") == 2 + 10 + 1
    assert lines.count("idle") == 2 + 1


@pytest.mark.parametrize("gpus", [8, 72, 576, 100_000])
def test_a_picture_stays_small(gpus: int) -> None:
    cluster = ClusterSpec(sku="b200", gpus=gpus)
    drawn = picture(cluster)
    assert len(drawn) < 40_000
    assert classes(drawn, "rect").count("box") <= 3 * MOST_ROWS
    assert f"{gpus:,} GPUs" in texts(drawn)[0]


def test_a_plan_of_many_workers_is_folded() -> None:
    cluster = ClusterSpec(sku="b200", gpus=2048)
    drawn = picture(cluster, placement_of(shape((64, 8), (16, 64)), Resources(cluster)))
    assert len([text for text in texts(drawn) if text.startswith("domain ")]) <= MOST_ROWS
    assert any("128 alike" in text for text in texts(drawn))


def run(*given: str) -> tuple[int, str]:
    result = CliRunner().invoke(make_app([]), ["topology", "draw", *given])
    return result.exit_code, str(result.exception or "")


def test_the_command_draws_what_failed(tmp_path: Path) -> None:
    path, out = tmp_path / "worn.yaml", tmp_path / "worn.svg"
    path.write_text(WORN)
    assert run(str(path), "--output", str(out)) == (0, "")
    drawn = out.read_text()
    assert texts(drawn)[0] == "<a&b>: 96 GPUs"
    # A leaf and a GPU crossed out, the cable dashed and crossed out.
    assert classes(drawn, "path").count("failed") == 3
    assert classes(drawn, "line").count("failed cut") == 1
    page = tmp_path / "worn.html"
    assert run(str(path), "--output", str(page)) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    assert "prefers-color-scheme:dark" in page.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.read_text())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{", "is no answer with a placement"),
        ("[]", "is no answer with a placement"),
        ('{"placement": 3}', "is no answer with a placement"),
        ("GPU 96", "on some that the cluster has not"),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path: Path, answer: str, message: str) -> None:
    path, plan = tmp_path / "worn.yaml", tmp_path / "plan.json"
    path.write_text(WORN)
    if answer == "GPU 96":
        large = ClusterSpec(sku="b200", gpus=128)
        placement = placement_of(shape((1, 8), (3, 32)), Resources(large))
        content = {"placement": [each.to_json() for each in placement]}
        answer = json.dumps(content)
    plan.write_text(answer)
    out = tmp_path / "out.svg"
    status, said = run(str(path), "--output", str(out), "--plan", str(plan))
    assert status
    assert message in said
    assert not out.exists()


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "worn.yaml"
    path.write_text(WORN)
    _, said = run(str(path), "--output", str(tmp_path / "out.png"))
    assert "give a name that ends in .svg or .html" in said
