"""Numbers in words: every sentence that a number decides is made here, none is typed by hand on a page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from medfuse.types import Comparison, Estimate

__all__ = [
    "answer",
    "condition_name",
    "in_plain_counts",
    "inputs_name",
    "interval",
    "number",
    "signed",
    "whether_it_helps",
]

_CONDITIONS = {
    "image": "Image only",
    "text": "Report only",
    "table": "Clinical table only",
    "image+text": "Image and report, without the table",
    "image+table": "Image and table",
    "text+table": "Report and table",
    "fused": "Image and report",
    "fused_masked": "Image and report, label words masked",
    "fused_shuffled": "Image and report, reports shuffled",
    "model": "Model",
    "diameter": "Diameter alone",
    "one_hot_scores": "Reader scores, one-hot",
    "prevalence": "Prevalence (best constant)",
}


def number(value: float, digits: int = 3) -> str:
    """Return a figure with a true minus sign.

    Parameters
    ----------
    value : float
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> number(0.9126), number(-0.02, 2), number(-0.0001)
    ('0.913', '−0.02', '0.000')
    """
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Return a figure with its sign, also where it is positive.

    Parameters
    ----------
    value : float
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> signed(0.05), signed(-0.05), signed(0.0)
    ('+0.050', '−0.050', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if float(text.replace("−", "-")) > 0 else text


def interval(figure: Estimate | Comparison, digits: int = 3) -> str:
    """Return an interval as "low to high".

    Parameters
    ----------
    figure : Estimate or Comparison
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> interval(Comparison("auroc", 0.03, -0.01, 0.07, 0.2, 100, "paired DeLong 95%"))
    '−0.010 to 0.070'
    """
    return f"{number(figure.low, digits)} to {number(figure.high, digits)}"


def inputs_name(modalities: Sequence[str]) -> str:
    """Return what a model read, as a reader knows it.

    Parameters
    ----------
    modalities : sequence of str
        At least one.

    Returns
    -------
    str

    Examples
    --------
    >>> inputs_name(["image", "text", "table"]), inputs_name(["image", "text"]), inputs_name(["text"])
    ('Image, report and table', 'Image and report', 'Report')
    """
    names = ["report" if name == "text" else name for name in modalities]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return listed[:1].upper() + listed[1:]


def condition_name(name: str, *, among: Collection[str] = ()) -> str:
    """Return a condition or baseline as a reader knows it.

    Parameters
    ----------
    name : str
    among : collection of str
        All conditions: they tell what is fused where it is more than image and report.

    Returns
    -------
    str

    Examples
    --------
    >>> condition_name("fused"), condition_name("hand_made_shape")
    ('Image and report', 'Hand made shape')
    >>> condition_name("fused", among=["fused", "image", "table"])
    'Image and table'
    """
    if name == "fused" and "table" in among:
        return inputs_name([modality for modality in ("image", "text", "table") if modality in among])
    plain = name.replace("_", " ")
    return _CONDITIONS.get(name, plain[:1].upper() + plain[1:])


def answer(difference: Comparison) -> str:
    """Return the one-word answer that an interval of a difference gives.

    Parameters
    ----------
    difference : Comparison

    Returns
    -------
    str
        ``"Yes"`` if the interval lies above 0, ``"No"`` if below, else ``"Not shown"``.

    Examples
    --------
    >>> answer(Comparison("auroc", 0.03, -0.01, 0.07, 0.2, 100, "paired DeLong 95%"))
    'Not shown'
    """
    if difference.low > 0:
        return "Yes"
    return "No" if difference.high < 0 else "Not shown"


def whether_it_helps(difference: Comparison, *, level: float) -> str:
    """Return one sentence on a paired difference in AUROC, from its figures alone.

    Parameters
    ----------
    difference : Comparison
    level : float
        Confidence level of the interval.

    Returns
    -------
    str

    Examples
    --------
    >>> print(whether_it_helps(Comparison("auroc", 0.03, 0.01, 0.05, 0.003, 100, "DeLong"), level=0.95))
    AUROC is higher by 0.030 (95% interval 0.010 to 0.050, p = 0.003).
    >>> print(whether_it_helps(Comparison("auroc", 0.01, -0.02, 0.04, 0.5, 100, "DeLong"), level=0.9))
    AUROC differs by +0.010 (90% interval −0.020 to 0.040, p = 0.50); a loss of 0.020 and a gain of 0.040 fit.
    """
    p = _p_value(difference.p_value)
    named = f"{100 * level:g}% interval"
    if difference.low > 0 or difference.high < 0:
        way = "higher" if difference.low > 0 else "lower"
        ends = sorted((abs(difference.low), abs(difference.high)))
        shown = f"{number(ends[0])} to {number(ends[1])}"
        return f"AUROC is {way} by {number(abs(difference.difference))} ({named} {shown}, {p})."
    return (
        f"AUROC differs by {signed(difference.difference)} ({named} {interval(difference)}, {p}); "
        f"a loss of {number(abs(difference.low))} and a gain of {number(difference.high)} fit."
    )


def in_plain_counts(probability: float) -> str:
    """Return a probability as a count that can be pictured.

    Parameters
    ----------
    probability : float
        In [0, 1].

    Returns
    -------
    str

    Examples
    --------
    >>> in_plain_counts(0.72), in_plain_counts(0.072), in_plain_counts(0.001), in_plain_counts(0.999)
    ('about 7 in 10', 'about 7 in 100', 'fewer than 1 in 100', 'more than 99 in 100')
    """
    if probability < 0.01:
        return "fewer than 1 in 100"
    if probability > 0.99:
        return "more than 99 in 100"
    if 0.15 <= probability <= 0.85:
        return f"about {round(10 * probability)} in 10"
    return f"about {round(100 * probability)} in 100"


def _p_value(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
