from pathlib import Path

from medfuse.reporting.scoring_summary import MAX_REASONS, N_BINS, ScoringFigures, write_scoring_summary


def page_of(figures: ScoringFigures, folder: Path) -> str:
    return write_scoring_summary(figures, folder / "summary.html", provenance={"model id": "abc"}).read_text()


def test_counts_bars_and_reasons_are_on_the_page(tmp_path: Path) -> None:
    bins = [0] * N_BINS
    bins[3], bins[19] = 10, 5
    figures = ScoringFigures(
        12, 15, 2, 1, 0.25,
        distributions={"probability_malignancy": bins},
        flags={"missing report": 3},
        modalities={"image+text": 12, "image": 3},
        refusals={("read", "series: found a gap; expected even <steps>"): 2},
    )  # fmt: skip
    page = page_of(figures, tmp_path)
    assert 'aria-label="15 cases of malignancy by probability: 10 from 0.15 to 0.20; 5 from 0.95 to 1.00; "' in page
    assert page.count('style="height: 50.0%"') == 1
    assert "<td>even &lt;steps&gt;</td>" in page
    assert "20.0 %" in page  # 3 of 15
    assert "image and report" in page and "missing report: answered without a report" in page
    assert "<script" not in page


def test_a_run_without_any_case_has_a_page(tmp_path: Path) -> None:
    page = page_of(ScoringFigures(0, 0, 0, 0, 0.0), tmp_path)
    assert "No case was scored." in page


def test_rare_reasons_are_counted_together(tmp_path: Path) -> None:
    reasons = {("read", f"slice {number}"): 1 for number in range(MAX_REASONS + 7)}
    assert "7 more cases, of rarer reasons." in page_of(ScoringFigures(9, 0, 107, 0, 0.0, refusals=reasons), tmp_path)
