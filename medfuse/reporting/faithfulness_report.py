"""Figures of how faithful methods of explaining are -> a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["faithfulness_page"]

_SETTINGS = {
    "drawn": "Nodules of LIDC-IDRI drawn at their true size, by the model of configs/lidc.yaml",
    "real": "Real CT cubes, by a small CNN that learnt from drawn nodules in the surroundings of other patients' cubes",
}
_ABOUT = (
    "Deletion and insertion are the areas under the probability of the class that the input speaks for, while the "
    "parts scored highest are taken away, or put in, first (low and high are faithful); gain is insertion minus "
    "deletion. *Over chance* is the gain less that of random maps of the same case. *Forgets* is the size of the rank "
    "correlation with the scores of a model whose weights were shuffled: from 0.5 on the test is failed. *Repeat* is "
    "the rank correlation with another seed and 1 % of noise. *Mass* is the share of the map inside the reader's "
    "mask, *times* that share over the mask's share of the volume (ratio of the means; behind it the median of the "
    "cases' ratios). *Shown* is the share of cases that pass all tests, so that a page would show the scores. "
    "*s* is seconds a case on shared cores: compare them with each other only. Intervals: 95 %, bootstrap by patient."
)


def faithfulness_page(metrics: Mapping[str, Any]) -> str:
    """Return the page of ``reports/explanations/metrics.json``.

    Parameters
    ----------
    metrics : mapping
        ``default``, ``settings``, ``cascade`` and ``reach``, as the pipeline writes them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> reach = {"mass_over_volume": {"aim": 5.0, "found": 7.5, "reached": True}}
    >>> page = faithfulness_page({"default": {"image": "a"}, "settings": {}, "cascade": {}, "reach": reach})
    >>> page.splitlines()[2]
    'Default for image: `a`, chosen on validation cases.'
    """
    lines = ["# How faithful the explanations are", ""]
    for name, method in metrics["default"].items():
        lines += [f"Default for {name}: `{method}`, chosen on validation cases{_ahead(metrics, name)}.", ""]
    lines += ["| aimed at | found | reached |", "|---|---|---|"]
    for name, found in metrics["reach"].items():
        if isinstance(found, Mapping):
            lines.append(
                f"| {_words(name)}, at least {found['aim']:g} | {found['found']:.2f} | {_yes(found['reached'])} |"
            )
        else:
            lines.append(f"| {_words(name)} | | {_yes(found)} |")
    lines += ["", _ABOUT]
    for setting, by_input in metrics["settings"].items():
        for name, found in by_input.items():
            lines += _section(f"{_SETTINGS.get(setting, setting)}: {name}", found, metrics["default"].get(name, ""))
    if metrics["cascade"]:
        lines += ["", "## The model forgets, from the answer to the input (real cubes)", ""]
        parts = list(next(iter(metrics["cascade"].values())))
        lines += [f"| method | {' | '.join(f'+ {part}' for part in parts)} |", "|---" * (len(parts) + 1) + "|"]
        for name, by_part in metrics["cascade"].items():
            lines.append(f"| {_words(name)} | {' | '.join(f'{by_part[part]:.2f}' for part in parts)} |")
    return "\n".join(lines) + "\n"


def _ahead(metrics: Mapping[str, Any], name: str) -> str:
    """Return by how much a default is better than the next method."""
    found = metrics.get("ahead", {}).get(name)
    if found is None:
        return ""
    words = f", where its gain is {_interval(found['by'])} above that of `{found['of']}`"
    return words if found["by"]["low"] > 0 else f"{words}: no certain difference"


def _section(title: str, found: Mapping[str, Any], default: str) -> list[str]:
    test = found["test"]
    n = max(one["gain"]["n"] for one in test.values())
    lines = ["", f"## {title}", "", f"{n} test cases."]
    if default in test:
        share = f"{100 * test[default]['shown']['value']:.0f} %"
        lines.append(f"A page would show the scores of the default, {_words(default)}, in {share} of them.")
    if "bypass_median" in found:
        share = f"{100 * found['bypass_median']:.0f} % (median)"
        lines.append(f"Of the image's part in the answer {share} does not pass through the last feature map.")
    has_mask = any("mass_inside" in one for one in test.values())
    columns = ["method", "deletion", "insertion", "gain over chance", "forgets", "repeat", "shown", "s"]
    columns += ["mass", "times (median)", "pointing"] if has_mask else []
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    order = sorted(test, key=lambda name: -test[name]["gain_over_chance"]["value"])
    lines += [_row(name, test[name], has_mask=has_mask) for name in order]
    lines += [f"| {_words(name)} | refused: {why} |" for name, why in found["refused"].items()]
    return lines


def _row(name: str, one: Mapping[str, Any], *, has_mask: bool) -> str:
    failed = "" if one["passes_randomisation"] else " **failed**"
    cells = [
        _words(name),
        f"{one['deletion']['value']:.3f}",
        f"{one['insertion']['value']:.3f}",
        _interval(one["gain_over_chance"]),
        f"{one['randomisation']['value']:.2f}{failed}",
        f"{one['repeatability']['value']:.2f}",
        f"{100 * one['shown']['value']:.0f} %",
        f"{one['seconds']['value']:.2f}",
    ]
    if has_mask:
        times = one["mass_over_volume"]
        cells += [
            f"{100 * one['mass_inside']['value']:.1f} %",
            f"{_interval(times, digits=1)} ({one['mass_over_volume_median']:.1f})",
            f"{100 * one['pointing']['value']:.0f} %",
        ]
    return f"| {' | '.join(cells)} |"


def _interval(found: Mapping[str, Any], *, digits: int = 3) -> str:
    low, high = (f"{found[end]:.{digits}f}" for end in ("low", "high"))
    return f"{found['value']:.{digits}f} ({low} to {high})"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"
