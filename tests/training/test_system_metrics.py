import time
from collections.abc import Mapping

import pytest

from medfuse.training.system_metrics import measure, sampled

CPU = "system/cpu_utilization_percentage"


class Figures:
    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.seen: list[tuple[int, Mapping[str, float]]] = []

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        self.seen.append((step, values))

    def next_step(self, name: str) -> int:
        assert name == CPU
        return self.first


def test_figures_have_the_names_that_mlflow_shows_on_a_page_of_their_own() -> None:
    figures = measure()
    assert all(name.startswith("system/") for name in figures)
    assert 0 <= figures[CPU] <= 100
    assert figures["system/process_memory_usage_megabytes"] < figures["system/system_memory_usage_megabytes"] * 10


def test_even_a_short_run_has_a_first_and_a_last_figure() -> None:
    figures = Figures(first=7)
    with sampled(figures, every_s=100.0):
        time.sleep(0.05)
    assert [step for step, _ in figures.seen] == [7, 8]


def test_figures_come_every_few_seconds() -> None:
    figures = Figures()
    with sampled(figures, every_s=0.02):
        time.sleep(0.2)
    assert 4 <= len(figures.seen) <= 12


def test_none_are_logged_where_none_are_wanted() -> None:
    figures = Figures()
    with sampled(figures, every_s=0):
        pass
    assert figures.seen == []


def test_a_failure_inside_still_ends_the_sampling() -> None:
    figures = Figures()
    with pytest.raises(ValueError, match="inside"), sampled(figures, every_s=0.01):
        raise ValueError("inside")
    n_seen = len(figures.seen)
    time.sleep(0.05)
    assert len(figures.seen) == n_seen
