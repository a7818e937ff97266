"""The methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medfuse.errors import UsageError, nearest_name
from medfuse.explain.ablation import FeatureAblation, Occlusion
from medfuse.explain.deep_lift import DeepLift
from medfuse.explain.feature_maps import GradCam, HiResCam, LayerCam
from medfuse.explain.gradients import GradientShap, IntegratedGradients
from medfuse.explain.method import Method
from medfuse.explain.rollout import AttentionRollout
from medfuse.registry import build, with_entry_points

__all__ = ["METHODS", "build_method", "describe_method", "known_methods"]

METHODS: dict[str, type[Method]] = {
    "attention_rollout": AttentionRollout,
    "deep_lift": DeepLift,
    "feature_ablation": FeatureAblation,
    "grad_cam": GradCam,
    "gradient_shap": GradientShap,
    "hires_cam": HiResCam,
    "integrated_gradients": IntegratedGradients,
    "layer_cam": LayerCam,
    "occlusion": Occlusion,
}


def build_method(options: Mapping[str, Any], *, explains: str) -> Method:
    """Build a method from its name and options.

    Parameters
    ----------
    options : mapping
        ``name``, beside the options of the method.
    explains : {"image", "text"}
        What it shall score.

    Returns
    -------
    Method

    Raises
    ------
    ConfigError
        If there is no such method or option, or a value is refused.
    UsageError
        If the method does not score that.

    Examples
    --------
    >>> build_method({"name": "occlusion", "edge": 6.0}, explains="image")
    Occlusion(edge=6.0, compactness=0.1, batch=16, precision='float32')
    """
    methods = known_methods()
    method = build(methods, options, where=f"explain.{explains}_method", given={})
    if explains not in method.explains:
        able = [name for name, one in methods.items() if explains in one.explains]
        found = f"found {options['name']!r}, which does not score {explains}"
        raise UsageError(f"explain.{explains}_method", found, expected=nearest_name("", able))
    return method


def known_methods() -> dict[str, type[Method]]:
    """Return medfuse's own methods, and those that installed packages offer."""
    return with_entry_points(METHODS, group="medfuse.explain_methods")


def describe_method(method: Method) -> str:
    """Return a method's name and options in words.

    Examples
    --------
    >>> describe_method(IntegratedGradients(n_steps=16))
    'integrated gradients (n steps 16, most steps 128, internal batch 8, precision float32)'
    """
    names = {kind: name for name, kind in METHODS.items()}
    name = names.get(type(method), type(method).__name__).replace("_", " ")
    said = ", ".join(f"{option.replace('_', ' ')} {value}" for option, value in vars(method).items())
    return f"{name} ({said})" if said else name
