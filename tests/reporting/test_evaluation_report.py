import json
import re

import numpy as np
import pandas as pd
import pytest

from medfuse.evaluation import EvaluationPlan, evaluate, evaluate_targets, holm
from medfuse.reporting import Background, write_evaluation_report
from medfuse.reporting.words import number

PROVENANCE = {"Config digest": "sha256:00ff", "Command": "medfuse evaluate RUN --out DIR"}
PLAIN = Background("t", PROVENANCE)


def table(*, text_shift=1.2, names=None, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(120):
        label = int(rng.random() < 0.4)
        image, text = rng.normal() + label, rng.normal() + text_shift * label
        known = {"image": image, "text": text, "fused": image + text, "baseline_diameter": rng.normal()}
        for condition, x in known.items():
            name = (names or {}).get(condition, condition)
            rows.append((f"c{i}", f"p{i // 2}", name, 1 / (1 + np.exp(-x)), label))
    return pd.DataFrame(rows, columns=["case_id", "patient_key", "condition", "probability", "label"])


def evaluation(**options):
    return evaluate(table(**options))


def test_page_and_figures_are_written_and_agree(tmp_path, read_page):
    result = evaluation()
    path = write_evaluation_report(result, tmp_path / "new" / "folder", background=PLAIN)
    page = read_page(path)
    written = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
    assert written["fused"]["auroc"]["value"] == result.metrics["fused"]["auroc"].value
    assert written["provenance"] == PROVENANCE
    for figures in (*result.metrics.values(), *result.baselines.values()):
        for figure in figures.values():
            assert np.isnan(figure.value) or number(figure.value) in page.text
    for found in result.paired["fused - image"].values():
        assert number(abs(found.difference)) in page.text
    assert "Research use only." in page.text
    assert "60 patients" in re.sub(r"\s+", " ", page.text)


def test_the_verdict_comes_from_the_interval(tmp_path, read_page):
    helped = read_page(write_evaluation_report(evaluation(), tmp_path / "a", background=PLAIN)).text
    useless = evaluation(text_shift=0.0)
    idle = read_page(write_evaluation_report(useless, tmp_path / "b", background=PLAIN)).text
    assert re.search(r"Yes\s*Does the report add to the image\?", helped)
    assert useless.comparisons["fused - image"].low <= 0
    assert re.search(r"(No|Not shown)\s*Does the report add to the image\?", idle)


def test_confusion_is_that_of_the_evaluation(tmp_path, read_page):
    result = evaluation()
    text = read_page(write_evaluation_report(result, tmp_path, background=PLAIN)).text
    counts = result.operating_points["fused"][0].confusion
    assert f"{counts.true_positive}found" in text and f"{counts.false_negative}missed" in text
    assert f"{counts.false_positive}false alarms" in text and f"{counts.true_negative}passed" in text


def test_design_limits_and_notes_are_on_the_page(tmp_path, read_page):
    background = Background("t", PROVENANCE, ("R² = 0.11.",), ("Rendered CT.",), looks=3)
    text = read_page(write_evaluation_report(evaluation(), tmp_path, background=background)).text
    said = ("R² = 0.11.", "Rendered CT.", "sha256:00ff", "0.500, fixed in advance", "have been computed: 3")
    assert all(words in text for words in said)


def test_a_single_unnamed_model_gets_a_page_without_questions(tmp_path, read_page):
    few = pd.DataFrame(
        {"case_id": list("abcdef"), "probability": [0.1, 0.6, 0.3, 0.4, 0.8, 0.9], "label": [0, 0, 0, 1, 1, 1]}
    )
    text = read_page(write_evaluation_report(evaluate(few), tmp_path, background=Background("t"))).text
    assert "Does the report" not in text
    assert "not available" in text
    assert "is not shown to be better than chance" in text


def test_left_out_cases_and_groups_are_shown(tmp_path, read_page):
    rows = table()
    rows.loc[rows["case_id"].isin(["c0", "c1"]), "label"] = None
    columns = pd.DataFrame({"site": ["north", "south"] * 60}, index=[f"c{i}" for i in range(120)])
    text = read_page(write_evaluation_report(evaluate(rows, columns=columns), tmp_path, background=PLAIN)).text
    assert "Left out, 2 cases: without a label" in text
    assert "north" in text and "all groups alike: p" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hostile_text_stays_text(tmp_path, read_page, hostile, language):
    columns = pd.DataFrame({hostile: [hostile, "b"] * 60}, index=[f"c{i}" for i in range(120)])
    result = evaluate(table(names={"text": hostile}).assign(target=hostile, **{"class": hostile}), columns=columns)
    background = Background(hostile, {hostile: hostile}, (hostile,), (hostile,))
    page = read_page(write_evaluation_report(result, tmp_path, background=background, language=language))
    assert page.text.count(hostile) >= 8
    assert hostile in json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))


def test_same_evaluation_gives_the_same_bytes(tmp_path):
    pages = [write_evaluation_report(evaluation(), tmp_path / name, background=PLAIN).read_bytes() for name in "ab"]
    assert pages[0] == pages[1]


def test_the_page_speaks_chinese(tmp_path, read_page):
    page = read_page(write_evaluation_report(evaluation(), tmp_path, background=PLAIN, language="zh"))
    assert ("html", "lang", "zh") in page.attributes
    assert "仅供研究使用" in page.text and "报告是否为影像增加信息？" in page.text
    body = page.text.split("仅供研究使用", 1)[1]
    english = set(re.findall(r"\b[a-z]{4,}(?: [a-z]{3,})+", body))
    methods = {"medfuse evaluate", "square-and-add of Wilson", "logit influence", "log influence", "fisher influence"}
    assert {found for found in english if not any(found in known for known in methods)} == set()


def test_what_is_fused_of_three_modalities_is_named(tmp_path, read_page):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    names = ("image", "text", "table", "image+text", "image+table", "text+table", "fused")
    rows = pd.concat(
        pd.DataFrame({"case_id": np.arange(60), "condition": name, "label": labels, "probability": rng.random(60)})
        for name in names
    )
    page = read_page(write_evaluation_report(evaluate(rows), tmp_path, background=PLAIN))
    assert "Image, report and table" in page.text
    assert "Do all together beat the better one alone" in page.text
    assert "Does the table add to image and report?" in page.text
    assert "Image and report, without the table" in page.text


def several(kind):
    rng = np.random.default_rng(1)
    rows = []
    for i in range(90):
        truth = i % 3
        odds = np.exp(rng.normal(size=3) + 1.5 * (np.arange(3) == truth))
        for k, name in enumerate("abc"):
            p = odds[k] / odds.sum() if kind == "multiclass" else odds[k] / (1 + odds[k])
            rows.append((f"c{i}", "test" if i < 60 else "validation", "stage", name, p, int(k == truth)))
    return pd.DataFrame(rows, columns=["case_id", "split", "target", "class", "probability", "label"])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_target_of_several_classes_shows_each_and_all(tmp_path, read_page, kind):
    found = evaluate_targets(several(kind))
    page = read_page(write_evaluation_report(found, tmp_path, background=PLAIN))
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["targets"]["stage"]
    for name, one in found["stage"].by_class.items():
        assert f"stage: {name}" in page.text
        assert number(one.metrics["model"]["auroc"].value) in page.text
        assert written["by_class"][name]["model"]["auroc"]["value"] == one.metrics["model"]["auroc"].value
    assert number(found["stage"].overall["model"]["macro_auroc"].value) in page.text
    assert ("true classes in rows" in page.text) == (kind == "multiclass")


def test_one_binary_target_of_several_calls_gets_the_whole_page(tmp_path, read_page):
    rows = table().assign(target="malignancy")
    page = read_page(write_evaluation_report(evaluate_targets(rows), tmp_path, background=PLAIN))
    assert "target “malignancy”" in page.text
    assert "auroc" in json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["fused"]


def test_a_target_that_cannot_be_evaluated_is_named_and_the_others_stand(tmp_path, read_page):
    rows = pd.concat([table().assign(target="good"), table().assign(target="poor", label=1)])
    page = read_page(write_evaluation_report(evaluate_targets(rows), tmp_path, background=PLAIN))
    assert "Not evaluated:" in page.text
    assert "Of 1 targets 1 are told apart better than chance" in page.text


def findings(*, shares=(0.5, 0.3, 0.1), gains=(1.6, 0.35, 0.0), n=240):
    """Targets of falling prevalence, to which the report adds less and less."""
    rng = np.random.default_rng(2)
    tables = []
    for name, share, gain in zip("abc", shares, gains, strict=True):
        label = (rng.random(n) < share).astype(int)
        image = label + rng.normal(0, 0.8, n)
        for condition, logit in {"image": image, "text": rng.normal(0, 1, n), "fused": image + gain * label}.items():
            one = {"case_id": [f"c{i}" for i in range(n)], "target": f"finding {name}", "condition": condition}
            one |= {
                "label": label,
                "probability": 1 / (1 + np.exp(-logit)),
                "site": np.where(np.arange(n) % 2, "x", "y"),
            }
            tables.append(pd.DataFrame(one))
    return pd.concat(tables)


def test_several_targets_say_what_the_inputs_add_after_correction_and_in_groups(tmp_path, read_page):
    rows = findings()
    sites = rows.drop_duplicates("case_id").set_index("case_id")[["site"]]
    plan = EvaluationPlan(largest_resampled=0)
    found = evaluate_targets(rows.drop(columns="site"), plan=plan, columns=sites)
    named = {name: next(iter(one.by_class.values())) for name, one in found.items()}
    page = read_page(write_evaluation_report(found, tmp_path, background=PLAIN))
    corrected = holm([one.comparisons["lift"].p_value for one in named.values()])
    shown = sum(p < 0.05 for p in corrected)
    assert 0 < shown < 3
    assert f"better than the better one alone for {shown} of 3 targets, and worse for 0, at 5%" in page.text
    rarest = named["finding c"]
    assert f"“finding c” rests on the fewest positive cases, {rarest.n_positive} of {rarest.n}" in page.text
    for one in named.values():
        [factor] = one.subgroups
        for group in factor.groups:
            area = group.figures["auroc"]
            assert f"{number(area.value)} ({number(area.low)} to {number(area.high)})" in page.text
