"""Methods compared on one cohort -> a page of Markdown and the curve of missing reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from medfuse.reporting.figures import FAINT, INK, new_figure

__all__ = ["methods_page", "missing_reports_svg"]

SIZE_TITLES = {"normalise": "Size normalised", "keep": "Size kept"}
SHOWN_POINTS = (0, 2, 4, 5, 6, 8, 10)


def methods_page(found: Mapping[str, Any], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return a page: the methods, then by size the finalists, their lift, and the curve of missing reports.

    Parameters
    ----------
    found : mapping
        ``"methods"``: rows of a comparison on validation cases; ``"finalists"``: their names, best first; by size
        ``"models"``, ``"lift"``, ``"lift_adjusted_for_diameter"``, ``"missing_reports"``, ``"diameter_r2"`` and
        ``"everything"``.
    title : str
    notes : sequence of str
        Paragraphs that say how the figures were made.

    Returns
    -------
    str
        Markdown.
    """
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [note, ""]
    first = found["finalists"][0]
    for size, heading in SIZE_TITLES.items():
        lines += [f"## {heading}", "", verdict(found[size], first), "", *_finalists(found[size], found["finalists"])]
        lines += ["", *_missing(found[size]["missing_reports"][first], first), ""]
    lines += ["## All methods, on the inner validation cases of fold 0", "", *_methods(found["methods"])]
    return "\n".join(lines) + "\n"


def verdict(figures: Mapping[str, Any], first: str) -> str:
    """Say what the first finalist reaches, in sentences that follow from the figures alone.

    Parameters
    ----------
    figures : mapping
        Of one size.
    first : str
        The finalist that was best on validation cases.

    Returns
    -------
    str
    """
    lift, adjusted = figures["lift"][first], figures["lift_adjusted_for_diameter"][first]
    lowest = min(figures["missing_reports"][first], key=lambda point: point["against"]["difference"])
    return (
        f"`{first}`, the best on inner validation, reaches AUROC {_area(lift['auroc'])} on the test cases: "
        f"{_change(lift)} over `{lift['better_single']}`, the better single modality; adjusted for diameter "
        f"{_change(adjusted)} over `{adjusted['better_single']}`. Where reports are missing it is at its worst "
        f"against the model of the image alone at {lowest['share']:.0%}: {_change(lowest['against'])}. The images tell "
        f"{figures['diameter_r2']:.0%} of the variance of log diameter."
    )


def _finalists(figures: Mapping[str, Any], finalists: Sequence[str]) -> list[str]:
    lines = [
        "| model | AUROC | over the better single modality | p (Holm) | that, adjusted for diameter | p (Holm) |",
        "|---|---|---|---|---|---|",
    ]
    areas = {row["run"]: row for row in figures["models"]}
    for name in finalists:
        plain, adjusted = figures["lift"][name], figures["lift_adjusted_for_diameter"][name]
        changes = " | ".join(f"{_change(one)} | {_p(one)}" for one in (plain, adjusted))
        lines.append(f"| {name} | {_area(plain['auroc'])} | {changes} |")
    rest = [name for name in areas if name not in finalists]
    lines += [f"| {name} | {_row_area(areas[name])} | | | | |" for name in rest]
    return [*lines, f"| everything | {_area(figures['everything'])} | | | | |"]


def _missing(points: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    lines = [
        f"Missing reports, `{name}`, the mean of 20 random drops a point:",
        "",
        "| reports missing | AUROC | less the model of the image alone |",
        "|---|---|---|",
    ]
    shown = [points[place] for place in SHOWN_POINTS if place < len(points)]
    return lines + [f"| {p['share']:.0%} | {_area(p['area'])} | {_change(p['against'])} |" for p in shown]


def _methods(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| method | AUROC | less the reference | p (Holm) | CPU seconds a training | parameters |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda one: -one["auroc"]):
        is_reference = row["difference"] is None
        change = "reference" if is_reference else f"{row['difference']:+.3f}"
        p = "" if is_reference else f"{row['p_holm']:.2f}"
        lines.append(
            f"| {row['run']} | {_row_area(row)} | {change} | {p} | {row['seconds']:.0f} | {row['parameters']:,.0f} |"
        )
    return lines


def missing_reports_svg(found: Mapping[str, Any]) -> bytes:
    """Draw AUROC against the share of missing reports, a panel a size, the model of the image alone beside it.

    Parameters
    ----------
    found : mapping
        As of `methods_page`.

    Returns
    -------
    bytes
        The same figures give the same bytes.
    """
    import matplotlib

    first = found["finalists"][0]
    figure, panels = new_figure(8.4, 3.6, columns=len(SIZE_TITLES))
    for axes, (size, heading) in zip(panels, SIZE_TITLES.items(), strict=True):
        points = found[size]["missing_reports"][first]
        shares = [100 * point["share"] for point in points]
        alone = points[0]["area"]["value"] - points[0]["against"]["difference"]
        low, high = ([point["area"][end] for point in points] for end in ("low", "high"))
        axes.fill_between(shares, low, high, color="#00785a", alpha=0.15, linewidth=0)
        axes.plot(shares, [point["area"]["value"] for point in points], color="#00785a", marker="o", label="fused")
        axes.axhline(alone, color="#0072b2", linestyle="--", label="image alone")
        axes.set_title(heading, fontsize=10, color=INK)
        axes.set_xlabel("Reports missing, %", fontsize=9, color=INK)
        axes.set_ylabel("AUROC", fontsize=9, color=INK)
        axes.spines[["right", "top"]].set_visible(False)
        axes.grid(axis="y", color=FAINT, alpha=0.3)
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    stream = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "medfuse", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _area(area: Mapping[str, float]) -> str:
    return f"{area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f})"


def _row_area(row: Mapping[str, float]) -> str:
    return f"{row['auroc']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _change(change: Mapping[str, float]) -> str:
    return f"{change['difference']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})"


def _p(change: Mapping[str, float]) -> str:
    return "< 0.001" if change["p_holm"] < 0.001 else f"{change['p_holm']:.3f}"
