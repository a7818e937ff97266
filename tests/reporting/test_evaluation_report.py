import json
import re
from base64 import b64decode

import numpy as np
import pandas as pd

from medfuse.evaluation import evaluate
from medfuse.reporting import write_evaluation_report
from medfuse.reporting.words import number

PROVENANCE = {"Config digest": "sha256:00ff", "Command": "medfuse evaluate RUN --out DIR"}


def evaluation(*, text_shift=1.2, names=None, seed=0):
    rng = np.random.default_rng(seed)
    rows, diameter = [], {}
    for i in range(120):
        label = int(rng.random() < 0.4)
        image, text = rng.normal() + label, rng.normal() + text_shift * label
        for condition, x in {"image": image, "text": text, "fused": image + text}.items():
            name = (names or {}).get(condition, condition)
            rows.append((f"c{i}", f"p{i // 2}", name, 1 / (1 + np.exp(-x)), label))
        diameter[f"c{i}"] = rng.random()
    table = pd.DataFrame(rows, columns=["case_id", "patient_key", "condition", "probability", "label"])
    return evaluate(table, baselines={"diameter": pd.Series(diameter)})


def test_page_and_figures_are_written_and_agree(tmp_path, read_page):
    result = evaluation()
    path = write_evaluation_report(result, tmp_path / "new" / "folder", title="Nodules", provenance=PROVENANCE)
    page = read_page(path)
    written = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
    assert written["fused"]["auroc"]["value"] == result.metrics["fused"]["auroc"].value
    assert written["provenance"] == PROVENANCE
    for figures in (*result.metrics.values(), *result.baselines.values()):
        for figure in figures.values():
            assert number(figure.value) in page.text
    assert "Research use only." in page.text
    assert "60 patients" in re.sub(r"\s+", " ", page.text)


def test_the_verdict_comes_from_the_interval(tmp_path, read_page):
    helped = read_page(write_evaluation_report(evaluation(), tmp_path / "a", title="t", provenance={})).text
    useless = evaluation(text_shift=0.0)
    idle = read_page(write_evaluation_report(useless, tmp_path / "b", title="t", provenance={})).text
    assert re.search(r"Yes\s*Does the report add to the image\?", helped)
    assert useless.comparisons["fused - image"].low <= 0
    assert re.search(r"(No|Not shown)\s*Does the report add to the image\?", idle)


def test_design_limits_and_notes_are_on_the_page(tmp_path, read_page):
    path = write_evaluation_report(
        evaluation(), tmp_path, title="t", provenance=PROVENANCE, design=["R² = 0.11."], limits=["Rendered CT."]
    )
    text = read_page(path).text
    assert all(words in text for words in ("R² = 0.11.", "Rendered CT.", "sha256:00ff", "0.500, fixed in advance"))


def test_a_single_unnamed_model_gets_a_page_without_questions(tmp_path, read_page):
    table = pd.DataFrame(
        {"case_id": list("abcdef"), "probability": [0.1, 0.6, 0.3, 0.4, 0.8, 0.9], "label": [0, 0, 0, 1, 1, 1]}
    )
    text = read_page(write_evaluation_report(evaluate(table), tmp_path, title="t", provenance={})).text
    assert "Does the report" not in text
    assert "not available" in text


def test_hostile_text_stays_text(tmp_path, read_page, hostile):
    result = evaluation(names={"text": hostile})
    path = write_evaluation_report(
        result, tmp_path, title=hostile, provenance={hostile: hostile}, design=[hostile], limits=[hostile]
    )
    page = read_page(path)
    assert page.text.count(hostile) >= 5
    assert hostile in json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    for picture in re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page.source):
        assert b"<script" not in b64decode(picture) and b"onerror" not in b64decode(picture).split(b"<!--")[0]


def test_same_evaluation_gives_the_same_bytes(tmp_path):
    pages = [
        write_evaluation_report(evaluation(), tmp_path / name, title="t", provenance=PROVENANCE).read_bytes()
        for name in "ab"
    ]
    assert pages[0] == pages[1]


def test_what_is_fused_of_three_modalities_is_named(tmp_path, read_page):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    names = ("image", "text", "table", "image+text", "image+table", "text+table", "fused")
    table = pd.concat(
        pd.DataFrame({"case_id": np.arange(60), "condition": name, "label": labels, "probability": rng.random(60)})
        for name in names
    )
    page = read_page(write_evaluation_report(evaluate(table), tmp_path, title="t", provenance={}))
    assert "Image, report and table" in page.text
    assert "Do all together beat the better one alone" in page.text
    assert "Does the table add to image and report?" in page.text
    assert "Image and report, without the table" in page.text
