"""Write oracles.json: what other libraries say of one table.

They are no dependencies: they pin others' versions. In an environment of its own::

    pip install "setuptools<70" confidenceinterval==1.0.5 MLstatkit==0.1.91 dcurves==1.1.7
    python write_oracles.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

N = 150
THRESHOLDS = [0.05, 0.1, 0.2, 0.333, 0.5, 0.7, 0.9]


def main() -> None:
    """Write the file beside this one."""
    import confidenceinterval
    import dcurves
    from MLstatkit import Delong_test

    rng = np.random.default_rng(0)
    label = (rng.random(N) < 0.35).astype(int)
    # Three digits: ties, and none of them at a threshold, where libraries differ in what they call positive.
    a, b = (
        np.round(np.clip(0.4 + shift * label + rng.normal(0, 0.2, N), 0.01, 0.99), 2) + 0.001 for shift in (0.2, 0.1)
    )

    z, p, interval_a, interval_b, area_a, area_b, _ = Delong_test(label, a, b)
    area, (low, high) = confidenceinterval.roc_auc_score(label.tolist(), a.tolist())
    called = (a >= 0.5).astype(int).tolist()
    calls = {}
    for name in ("tpr", "tnr", "ppv", "npv"):
        value, ends = getattr(confidenceinterval, f"{name}_score")(label.tolist(), called, method="wilson")
        calls[name] = [value, *ends]
    curve = dcurves.dca(
        pd.DataFrame({"label": label, "a": a}), outcome="label", modelnames=["a"], thresholds=THRESHOLDS
    )
    benefit = {name: group["net_benefit"].tolist() for name, group in curve.groupby("model")}

    content = {
        "versions": {name: version(name) for name in ("confidenceinterval", "MLstatkit", "dcurves")},
        "label": label.tolist(),
        "a": a.round(3).tolist(),
        "b": b.round(3).tolist(),
        "MLstatkit": {"z": z, "p": p, "areas": [area_a, area_b], "intervals": [list(interval_a), list(interval_b)]},
        "confidenceinterval": {"area": [area, low, high], "wilson": calls},
        "dcurves": {"thresholds": THRESHOLDS, "a": benefit["a"], "all": benefit["all"]},
    }
    Path(__file__).with_name("oracles.json").write_text(json.dumps(content, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
