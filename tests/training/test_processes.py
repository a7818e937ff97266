"""Two processes on one machine, as the command line starts them, give what one gives."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from medfuse.config import RunConfig

OPTIONS = ["compute.accelerator=cpu", "compute.threads=1"]
TWO = ["compute.devices=2", "compute.strategy=ddp"]


def run_command(config: Path, out: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    sets = [part for option in (*OPTIONS, *options) for part in ("--set", option)]
    command = Path(sys.executable).with_name("medfuse")  # lightning starts the other process by the same command
    return subprocess.run(
        [str(command), "train", "--config", str(config), "--out", str(out), *sets],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_give_the_run_of_one(toy_config: RunConfig, toy: Any, tmp_path: Path) -> None:
    content = toy_config.model_dump(mode="json")
    content["optim"] |= {"epochs": 3}
    content["model"]["image_encoder"] |= {"dropout": 0.2}
    content["model"]["text_encoder"] |= {"dropout": 0.2}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    one, two = tmp_path / "a" / "one", tmp_path / "b" / "two"
    for out, options in ((one, []), (two, TWO)):
        done = run_command(config, out, options)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(": epoch 3 of 3") == 1, done.stderr
        assert "Warning" not in done.stderr and "recommended" not in done.stderr
    tables = [pd.read_parquet(out / "predictions.parquet") for out in (one, two)]
    keys = ["case_id", "split", "condition", "class"]
    both = tables[0].merge(tables[1], on=keys, validate="one_to_one")
    assert len(both) == len(tables[0]) == len(tables[1])
    assert (both["probability_x"] - both["probability_y"]).abs().max() < 1e-5
