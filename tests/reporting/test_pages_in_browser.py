"""The pages as a browser and a printer lay them out: nothing overlaps, is cut, is fetched or runs."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.evaluation import EvaluationPlan, compare_areas, evaluate, evaluate_targets
from medfuse.reporting import Background, write_evaluation_report
from medfuse.reporting.models_report import write_models_report
from medfuse.reporting.thumbnails import WorstCase, calls_of, slices, worst_calls

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (360, 768, 1280)
PLAN = EvaluationPlan(largest_resampled=0)  # what is drawn, not what is drawn at random, is tested here

# Every line of text as the browser drew it, with what may scroll left out.
LINES = """() => {
  const scrolls = e => { for (; e; e = e.parentElement) {
    if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true; } return false; };
  const lines = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (!node.textContent.trim() || node.parentElement.closest('title, desc, thead')) continue;
    const range = document.createRange(); range.selectNodeContents(node);
    for (const r of range.getClientRects())
      lines.push({left: r.left, right: r.right, top: r.top + scrollY, bottom: r.bottom + scrollY,
                  scrolls: scrolls(node.parentElement), text: node.textContent.trim().slice(0, 40)});
  }
  return lines; }"""
PLOTS = """() => [...document.querySelectorAll('svg.plot')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(t => { const r = t.getBoundingClientRect();
    return r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1; })
    .map(t => t.textContent); })"""
CUT = """() => [...document.querySelectorAll('body *')].filter(e => {
  const s = getComputedStyle(e);
  return s.overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1 && !e.closest('thead'); })
  .map(e => e.textContent.slice(0, 40))"""


def probabilities(rng, labels, gain):
    return 1 / (1 + np.exp(-(rng.normal(size=labels.size) + gain * (labels - 0.5))))


def predictions(targets, *, n=160, seed=0):
    rng = np.random.default_rng(seed)
    tables = []
    for target in targets:
        labels = (rng.random(n) < 0.4).astype(int)
        for condition, gain in {"image": 1.2, "text": 0.8, "fused": 1.8, "baseline_diameter": 1.0}.items():
            tables.append(
                pd.DataFrame(
                    {
                        "case_id": [f"S{i:016x}-1" for i in range(n)],
                        "patient_key": [f"P{i // 2}" for i in range(n)],
                        "split": np.where(np.arange(n) < 60, "validation", "test"),
                        "condition": condition,
                        "target": target,
                        "class": "positive",
                        "label": labels,
                        "probability": probabilities(rng, labels, gain),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def cohort(n=160):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "case_id": [f"S{i:016x}-1" for i in range(n)],
            "patient_key": [f"P{i // 2}" for i in range(n)],
            "part": np.where(np.arange(n) < 60, "validation", "test"),
            "fold": "",
            "has_image": True,
            "has_text": np.arange(n) % 9 != 0,
            "label_malignancy": np.where(np.arange(n) % 3 == 0, "positive", "negative"),
            "site_of_acquisition_as_the_manifest_names_it": rng.choice(["north", "south", ""], n),
            "age": rng.integers(20, 90, n).astype(str),
        }
    )


def facts():
    part = {"cases": 80, "studies": 80, "patients": 50, "unlabelled": 3}
    shared = {"patients": 0, "images": 2, "texts": 0}
    return {
        "manifest": {"cases": 200, "studies": 190, "patients": 120},
        "years": ["2011", "2019"],
        "refused": [{"reason": "found a missing slice between two positions", "cases": 3, "studies": 4}],
        "unlabelled": 9,
        "parts": {"validation": part, "test": part},
        "shared": {"validation test": shared},
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One target with all that a run knows, eight labels of a plain table, and three runs side by side."""
    folder = tmp_path_factory.mktemp("pages")
    table, who = predictions(["malignancy"]), cohort()
    background = Background(
        "LIDC-IDRI nodules: does the report add to the image?",
        {"command": "medfuse evaluate " + "x" * 90, "data_digest": "0f" * 32},
        design=("Fold 0 of five, drawn by patient, is the test part.",),
        limits=("Rendered CT is not CT.",),
        cohort=who,
        cohort_facts=facts(),
        looks=2,
    )
    result = evaluate(table, columns=background.columns, plan=PLAN)
    picture = np.random.default_rng(2).random((16, 16, 16))
    text = "FINDINGS: <b>A nodule</b> with a spiculated margin. " + "Averylongwordwithoutanyspace" * 6
    worst = [WorstCase(case, slices(picture), text) for case in worst_calls(calls_of(result, table))]
    whole = replace(background, worst=tuple(worst))
    several = evaluate_targets(predictions([f"Finding number {k}, as a long name" for k in range(6)]), plan=PLAN)
    runs = table[(table["condition"] != "baseline_diameter") & (table["split"] == "test")]
    runs = runs.replace({"condition": {"image": "run_one", "text": "run_two", "fused": "run_three"}})
    scores = {name: [rows["probability"].to_numpy()] for name, rows in runs.groupby("condition")}
    labels = runs.loc[runs["condition"] == "run_one", "label"].to_numpy()
    models = compare_areas(labels, scores, reference="run_one")
    side = evaluate(runs, plan=PLAN)
    return {
        "one": write_evaluation_report(result, folder / "one", background=whole, pdf=True),
        "one in Chinese": write_evaluation_report(result, folder / "zh", background=whole, language="zh"),
        "several": write_evaluation_report(several, folder / "several", background=Background("Findings"), pdf=True),
        "models": write_models_report(models, side, folder / "models", background=Background("Runs"), pdf=True),
    }


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'medfuse[dev]'")
    if not CHROMIUM.exists():
        pytest.skip("there is no chromium at /usr/bin")
    with api.sync_playwright() as driver:
        # A sandbox needs rights that a container may not give; nothing but files of this test is opened.
        started = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield started
        started.close()


@pytest.mark.parametrize("name", ["one", "one in Chinese", "several", "models"])
def test_nothing_overlaps_is_cut_is_fetched_or_runs(browser, pages, name):
    for width in WIDTHS:
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))  # noqa: B023
        page.on("console", lambda message: said.append(message.text))  # noqa: B023
        page.goto(pages[name].as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
        assert said == []
        assert page.evaluate("document.scripts.length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        lines = page.evaluate(LINES)
        assert [
            line for line in lines if not line["scrolls"] and (line["right"] > width + 1 or line["left"] < -1)
        ] == []
        assert overlapping(lines) == []
        assert page.evaluate(PLOTS) == []
        assert page.evaluate(CUT) == []
        context.close()


def overlapping(lines):
    """Return pairs of lines of text that lie on each other by more than a hair."""
    lines = sorted(lines, key=lambda line: line["top"])
    found = []
    for place, one in enumerate(lines):
        for other in lines[place + 1 :]:
            if other["top"] >= one["bottom"]:
                break
            high = min(one["bottom"], other["bottom"]) - other["top"]
            wide = min(one["right"], other["right"]) - max(one["left"], other["left"])
            if wide > 2 and high > 0.5 * min(one["bottom"] - one["top"], other["bottom"] - other["top"]):
                found.append((one["text"], other["text"]))
    return found


def test_overlapping_and_cut_text_would_be_found(browser, tmp_path):
    planted = tmp_path / "planted.html"
    planted.write_text(
        "<body><p style='margin:0'>first line of text</p><p style='margin:-1em 0 0'>second line of text</p>"
        "<div style='width:40px;overflow:hidden;white-space:nowrap'>a text that is cut</div>"
        "<svg class='plot' viewBox='0 0 10 10' width='50'><text x='9' y='5'>outside</text></svg>"
    )
    page = browser.new_page(viewport={"width": 360, "height": 600})
    page.goto(planted.as_uri())
    assert ("first line of text", "second line of text") in overlapping(page.evaluate(LINES))
    assert page.evaluate(CUT) == ["a text that is cut"]
    assert page.evaluate(PLOTS) == ["outside"]
    page.close()


@pytest.mark.parametrize("name", ["one", "several", "models"])
def test_a_printed_page_holds_all_its_text(pages, name):
    weasyprint = pytest.importorskip("weasyprint", reason="weasyprint is not installed: pip install 'medfuse[pdf]'")
    assert pages[name].with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    printed = weasyprint.HTML(string=pages[name].read_text(encoding="utf-8")).render().pages
    for sheet in printed:
        texts = [box for box in sheet._page_box.descendants() if type(box).__name__ == "TextBox" and box.text.strip()]
        assert texts, "an empty page"
        assert [box.text for box in texts if box.position_x + box.width > sheet.width - 12 or box.position_x < 12] == []
