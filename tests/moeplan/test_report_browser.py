"""The report in a browser: moved, repriced, pointed at and typed into, as its reader does."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import moeplan
from moeplan.options import Options
from moeplan.report.build import report_of
from optimizer import Space

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright is installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe is installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on this machine")

SKUS = ("gb200", "b200")
TINY = Space(
    prefill_workers=(1, 4),
    decode_workers=(1, 2),
    decode_gpus=(8, 32),
    mtp_depths=(2,),
    largest_batch=64,
    batch_ratio=2.0,
)
WIDTHS = {"phone": 360, "tablet": 800, "desk": 1280}

# Contrast of every text with what is behind it: WCAG 2.2, 1.4.3, by its formula of luminance.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (under, [rgb, a]) => rgb.map((c, i) => a * c + (1 - a) * under[i]);
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const [r, g, b, a] = channels(getComputedStyle(each).backgroundColor);
      if (a) layers.push([[r, g, b], a / 255]);
      if (a === 255) break;
    }
    return layers.reverse().reduce(over, [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, element] = [walker.currentNode.data.trim(), walker.currentNode.parentElement];
    if (!text || !element.checkVisibility() || element.matches("title")) continue;
    const style = getComputedStyle(element);
    const ink = luminance(channels(element instanceof SVGElement ? style.fill : style.color));
    const bar = element.previousElementSibling;
    const onBar = bar && bar.matches(".won:not([fill=none])");
    const ground = luminance(onBar ? channels(getComputedStyle(bar).fill) : behind(element));
    found.push([(Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05), text]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = report_of(SKUS, [50.0, 125.0, 200.0], space=TINY, command="moeplan compare ...")
    path.write_text(made.html(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # As root Chromium has no sandbox; the page is our own.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """The page as opened, with what it said and asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> None:
        viewport = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.url = path.as_uri()

    def text(self, selector: str) -> str:
        return " ".join(str(self.page.inner_text(selector)).split())

    def cells(self, sku: str) -> list[str]:
        """The row of a machine: throughput, cost and break-even, as measured, as modelled."""
        rows = self.page.locator("#machines tbody tr").all()
        row = next(row for row in rows if row.locator("th").inner_text().strip() == sku)
        return [" ".join(cell.inner_text().split()) for cell in row.locator("td").all()][1:]

    def close(self) -> None:
        assert self.said == []
        assert self.asked == [self.url]
        self.context.close()


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    page = Opened(browser, report)
    yield page
    page.close()


def expected(target: float, prices: dict[str, float]) -> dict[str, list[str]]:
    """What the command line says, as the page writes it."""
    options = {sku: Options(price=price) for sku, price in prices.items()}
    row = moeplan.compare(SKUS, [target], options, space=TINY).rows[0]
    found: dict[str, list[str]] = {}
    for sku in SKUS:
        measured, modelled = row.pairs[sku].measured, row.pairs[sku].modelled
        assert measured is not None
        assert modelled is not None
        ties = [row.break_even("measured")[sku], row.break_even("modelled")[sku]]
        star = "*" if modelled.origin == "extrapolated" else ""
        low, high = modelled.interval_90["usd_per_m_total_tokens"]
        throughputs = [
            f"{each.total_tok_s_per_gpu:,.0f}"
            if each.total_tok_s_per_gpu >= 1000
            else f"{each.total_tok_s_per_gpu:#.4g}"
            for each in (measured, modelled)
        ]
        found[sku] = [
            throughputs[0],
            f"{measured.usd_per_m_total_tokens:.4f}",
            f"{ties[0].usd_per_hour:,.2f}" if ties[0] else "-",
            throughputs[1],
            f"{star}{modelled.usd_per_m_total_tokens:.4f} {low:.4f} .. {high:.4f}",
            f"{ties[1].usd_per_hour:,.2f}" if ties[1] else "-",
        ]
    return found


def test_slider_and_prices_change_all_at_once(opened: Opened) -> None:
    assert opened.text("#target-said") == "125 tok/s/user"
    slider = opened.page.locator("#target")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    target = float(opened.text("#target-said").split()[0])
    assert target < 125
    prices = {"gb200": 9.0, "b200": 1.25}
    for sku, price in prices.items():
        opened.page.fill(f"#price-{sku}", str(price))
    told = expected(target, prices)
    assert {sku: opened.cells(sku) for sku in SKUS} == told
    assert "b200 is" in opened.text("#verdict")
    assert opened.text("#rows tr.now th") == f"{target:g}"
    assert told["b200"][1] in opened.text("#rows tr.now")
    assert told["gb200"][4].split()[0].strip("*") in opened.text("#deployments")
    opened.page.click("#reset")
    assert opened.cells("gb200") != told["gb200"]
    assert opened.page.input_value("#price-gb200") == "1.86"


@pytest.mark.parametrize("wrong", ["", "-1", "0"])
def test_a_price_that_is_none_is_told_and_changes_nothing(opened: Opened, wrong: str) -> None:
    before = opened.cells("b200")
    opened.page.fill("#price-b200", wrong)
    assert opened.cells("b200") == before
    assert "give a number above 0" in opened.text("#price-problem")
    assert opened.page.get_attribute("#price-b200", "aria-invalid") == "true"
    opened.page.fill("#price-b200", "2")
    assert opened.text("#price-problem") == ""


def test_the_chart_tells_what_is_pointed_at_and_takes_a_click(opened: Opened) -> None:
    opened.page.locator("#chart svg").scroll_into_view_if_needed()
    box = opened.page.locator("#chart svg").bounding_box()
    opened.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 60)
    tip = opened.text(".tip")
    assert "tok/s/user" in tip
    assert "GPUs" in tip
    assert "TTFT" in tip
    opened.page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 60)
    assert opened.text("#target-said") == tip.partition("user")[0] + "user"
    opened.page.mouse.move(0, 0)
    assert not opened.page.locator(".tip").is_visible()


@pytest.mark.parametrize("metric", ["cost", "throughput", "power"])
def test_every_view_of_the_chart_is_drawn(opened: Opened, metric: str) -> None:
    opened.page.check(f"#metric input[value={metric}]")
    for scale in ("x-scale", "y-scale"):
        for value in ("log", "linear"):
            opened.page.check(f"#{scale} input[value={value}]")
            paths = opened.page.locator("#chart path.modelled").all()
            assert len(paths) >= len(SKUS)
            assert all("NaN" not in path.get_attribute("d") for path in paths)
    # Told apart by dash and shape, not by colour alone.
    for name in ("interpolated", "safe", "band"):
        assert opened.page.locator(f"#chart path.{name}").count() >= len(SKUS)
    assert opened.page.locator("#chart circle").count() > 5
    assert opened.page.locator("#chart .gap").count() >= 2
    assert "over interactivity" in opened.page.get_attribute("#chart svg", "aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_reads_well_at_any_width(browser: Any, report: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, report, width, scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    contrasts = opened.page.evaluate(CONTRAST)
    assert len(contrasts) > 200
    assert [each for each in contrasts if each[0] < 4.5] == []
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    opened.close()


def test_the_keyboard_reaches_every_control(opened: Opened) -> None:
    reached = set()
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        reached.add(
            opened.page.evaluate("document.activeElement.id || document.activeElement.name")
        )
    assert {
        "target",
        "price-gb200",
        "price-b200",
        "reset",
        "metric",
        "y-scale",
        "x-scale",
    } <= reached


def test_it_prints_with_its_figures(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("#reset").is_visible()
    assert opened.page.locator("#chart svg").is_visible()
    assert len(opened.page.pdf()) > 20_000
    assert math.isclose(float(opened.page.input_value("#price-gb200")), 1.86)
