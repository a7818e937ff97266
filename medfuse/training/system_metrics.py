"""How busy the machine is while a run goes on, under the names that MLflow's own monitor uses."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import psutil

__all__ = ["measure", "sampled"]

MEGA = 1e6


class Log(Protocol):
    """What takes the figures."""

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Log figures of a step."""
        ...

    def next_step(self, name: str) -> int:
        """Return the step after the last one."""
        ...


def measure() -> dict[str, float]:
    """Return load and memory of the machine, of this process, and of GPUs that torch uses.

    Examples
    --------
    >>> 0 < measure()["system/process_memory_usage_megabytes"]
    True
    """
    memory = psutil.virtual_memory()
    figures = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / MEGA,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / MEGA,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            figures[f"system/gpu_{index}_memory_usage_megabytes"] = (total - free) / MEGA
            figures[f"system/gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return figures


@contextmanager
def sampled(log: Log, *, every_s: float) -> Iterator[None]:
    """Log the machine's figures at once, at the end, and every few seconds between.

    Parameters
    ----------
    log : Log
    every_s : float
        0 logs none.
    """
    if every_s <= 0:
        yield
        return
    done = threading.Event()
    first = log.next_step("system/cpu_utilization_percentage")
    psutil.cpu_percent()  # its first answer means nothing

    def sample() -> None:
        step = first
        while True:
            log.log_metrics(measure(), step=step)
            step += 1
            if done.is_set():
                return
            done.wait(every_s)

    thread = threading.Thread(target=sample, name="medfuse-system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
