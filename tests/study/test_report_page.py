"""The page of a whole study in a real browser: no errors, every figure drawn, at any width."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parmlp.study.report import Report, write_report
from study.simulated_machine import Machine, write_study

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium here; Debian's package is called chromium"
)

#: So many programs that every figure has something to show.
PROGRAMS = (
    "naive_serial", "naive_pthreads", "blas_serial", "parmlp_serial", "parmlp_threads",
    "parmlp_openmp", "parmlp_partial_gradients", "theano", "jax", "torch", "numpy",
)  # fmt: skip

PAPER = {"light": "rgb(254, 254, 254)", "dark": "rgb(20, 24, 29)"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("study")
    machine = Machine(cores=4)
    machine.programs = {name: machine.programs[name] for name in PROGRAMS}
    write_study(folder, machine)
    return write_report(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Chromium's sandbox does not work for root, who runs tests in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


class Opened:
    """The page in a window, and everything it complained about or asked the network for."""

    def __init__(self, browser: Any, page: Path, width: int, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.tab = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(page.as_uri())

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "variant"), [(360, "narrow"), (1600, "wide")])
def test_every_figure_is_drawn(
    report: Report, browser: Any, width: int, variant: str, scheme: str
) -> None:
    assert report.gaps == 0
    with Opened(browser, report.page, width, scheme) as opened:
        shapes = opened.tab.evaluate(
            """() => [...document.querySelectorAll("figure")].map((figure) => {
                const plots = [...figure.querySelectorAll(".plot")];
                const shown = plots.filter((plot) => plot.offsetWidth > 0);
                const svg = shown[0].querySelector("svg");
                const box = svg.getBoundingClientRect();
                const marks = [...svg.querySelectorAll("path, use")].filter((mark) => {
                    const m = mark.getBoundingClientRect();
                    return m.width > 0 || m.height > 0;
                });
                return {
                    id: figure.id,
                    variants: shown.map((p) => p.className),
                    width: box.width,
                    height: box.height,
                    marks: marks.length,
                    texts: svg.querySelectorAll("text").length,
                };
            })"""
        )
        assert len(shapes) == report.figures
        for shape in shapes:
            assert shape["variants"] == [f"plot {variant}"], shape
            assert min(width, 1000) * 0.8 < shape["width"] < width, shape
            assert shape["height"] > 90, shape
            assert shape["marks"] > 8, shape
            assert shape["texts"] > 4, shape
        # No part of the page is wider than the window.
        assert opened.tab.evaluate("document.documentElement.scrollWidth") == width
        paper = opened.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == PAPER[scheme]
        assert opened.complaints == []
        assert opened.requests == [report.page.as_uri()]


def test_texts_of_figures_can_be_read(report: Report, browser: Any) -> None:
    for width in (360, 1600):
        with Opened(browser, report.page, width) as opened:
            heights = opened.tab.evaluate(
                """() => [...document.querySelectorAll(".plot svg text")]
                    .map((t) => [t.getBoundingClientRect(), t.getAttribute("transform") || ""])
                    .filter(([box, turn]) => box.width > 0 && !turn.includes("rotate(-90)"))
                    .map(([box]) => box.height)"""
            )
            assert len(heights) > 100
            assert min(heights) >= 7.5


def test_tables_sort_both_ways(report: Report, browser: Any) -> None:
    with Opened(browser, report.page, 1600) as opened:
        table = opened.tab.locator("#table-times table")
        head = table.locator("th", has_text="seconds an epoch")
        column = head.evaluate("(head) => head.cellIndex")

        def values() -> list[float]:
            return [
                float(v)
                for v in table.evaluate(
                    "(t, c) => [...t.tBodies[0].rows].map((r) => r.cells[c].dataset.sort)", column
                )
            ]

        before = values()
        head.locator("button").click()
        assert values() == sorted(before)
        head.locator("button").click()
        assert values() == sorted(before, reverse=True)
        assert head.get_attribute("aria-sort") == "descending"
        assert opened.complaints == []


@pytest.mark.parametrize("width", [360, 1600])
def test_figures_can_be_enlarged(report: Report, browser: Any, width: int) -> None:
    with Opened(browser, report.page, width) as opened:
        opened.tab.locator("#roofline .enlarge").click()
        dialog = opened.tab.locator("#zoom")
        view = dialog.locator("svg")
        whole = view.get_attribute("viewBox")
        assert view.bounding_box()["width"] > 0.8 * width
        dialog.locator("[data-zoom=in]").click()
        smaller = view.get_attribute("viewBox")
        assert float(smaller.split()[2]) < float(whole.split()[2])
        dialog.locator(".view").hover()
        opened.tab.mouse.wheel(0, -200)
        opened.tab.mouse.down()
        opened.tab.mouse.move(width / 2 + 40, 500)
        opened.tab.mouse.up()
        assert view.get_attribute("viewBox") != smaller
        dialog.locator("[data-zoom=reset]").click()
        assert view.get_attribute("viewBox") == whole
        dialog.locator("[data-zoom=close]").click()
        assert not dialog.is_visible()
        assert opened.complaints == []


def test_data_are_a_click_away(report: Report, browser: Any) -> None:
    with Opened(browser, report.page, 1600) as opened:
        figure = opened.tab.locator("#strong_scaling")
        assert not figure.locator("table").is_visible()
        figure.locator("summary").click()
        assert figure.locator("table").is_visible()
        with opened.tab.expect_download() as download:
            figure.locator("a[download]").click()
        saved = Path(download.value.path()).read_text(encoding="utf-8")
        kept = report.page.parent / "data/strong_scaling.csv"
        assert saved == kept.read_text(encoding="utf-8")


def test_it_prints_light_and_whole(report: Report, browser: Any) -> None:
    with Opened(browser, report.page, 1600, "dark") as opened:
        opened.tab.emulate_media(media="print")
        paper = opened.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == PAPER["light"]
        assert not opened.tab.locator("nav").is_visible()
        cut = opened.tab.evaluate(
            """() => [...document.querySelectorAll(".scroll")]
                .filter((box) => box.offsetHeight > 0)
                .filter((box) => box.scrollHeight > box.clientHeight + 2).length"""
        )
        assert cut == 0
        assert len(opened.tab.pdf()) > 100_000
