"""The page of a run of `pipelines.scoring_faults`, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["faults_page"]

INTRODUCTION = """# Scoring with poisoned studies, and with processes killed

Made by `make scoring-faults`; figures in metrics.json, settings in run.json. {n_good} good studies (rendered LIDC-IDRI
nodules as DICOM, each with its report and position) and {n_poisoned} that must be refused lie in one archive. It is
scored with one worker and with two, and under a scheduler with two workers while workers, the scheduler and the
command are killed by SIGKILL at random moments and started again.
"""


def faults_page(metrics: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    metrics : mapping
        As `pipelines.scoring_faults.judge` returns them.

    Returns
    -------
    str
        Markdown.
    """
    lines = [INTRODUCTION.format(**metrics)]
    lines += [
        "| run | scored | refused | lost | doubled | torn | last exit code | killed | table as the first | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in metrics["runs"].items():
        killed = ", ".join(f"{number} {what}" for what, number in sorted(run["kills"].items())) or "none"
        same = "equal" if run["equals_the_first"] else "**differs**"
        counts = " | ".join(str(run[key]) for key in ("scored", "refused", "lost", "doubled", "torn", "last_exit_code"))
        lines.append(f"| {name} | {counts} | {killed} | {same} | {run['seconds']:g} |")
    own = metrics["refused_for_their_own_fault"]
    lines += ["", "Tables are compared without the time that a study took: every other value to the last bit.", ""]
    lines += [
        f"Of {own['of']} poisoned studies whose id can be read, {own['n']} are refused for what was done to them."
    ]
    if metrics["refused_otherwise"]:
        lines += ["The others:", "", *(f"- {told}" for told in metrics["refused_otherwise"])]
    lines += ["", "| what was done | studies |", "|---|---|"]
    lines += [f"| {kind} | {number} |" for kind, number in metrics["kinds"].items()]
    lines += ["", "| why refused | studies |", "|---|---|"]
    lines += [f"| {reason.replace('|', '/')} | {number} |" for reason, number in metrics["reasons"].items()]
    return "\n".join(lines) + "\n"
