"""What a machine does to a training: no memory, a full disk, a folder that is closed, two runs at once."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from medfuse.cli import main
from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import TrainingError, UsageError
from medfuse.training import fit, train
from medfuse.training.checkpoints import SafetensorsIO
from medfuse.training.parts import Parts, split_cases
from medfuse.training.run_folder import check_writable, held_folder


@pytest.fixture
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


class Fails(lightning.Callback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_batch_end(self, *args: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"),
    ],
    ids=["python", "GPU", "CPU"],
)
def test_too_little_memory_names_the_settings_that_need_less(
    toy_config: RunConfig, parts: Parts, error: BaseException
) -> None:
    with pytest.raises(TrainingError) as raised:
        fit(toy_config, train=parts.train, validation=parts.validation, callbacks=[Fails(error)])
    assert str(raised.value) == (
        "epoch 0: memory does not suffice for a batch of 8; expected optim.chunks=2 (the same steps in parts), "
        "or optim.batch_size=4 with optim.accumulate=2, or a smaller data.image.size, or compute.precision=bfloat16"
    )


def test_an_error_of_another_kind_is_not_called_one_of_memory(toy_config: RunConfig, parts: Parts) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        fit(toy_config, train=parts.train, validation=parts.validation, callbacks=[Fails(RuntimeError("shapes"))])


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path, io = tmp_path / "last" / "state.safetensors", SafetensorsIO()
    io.save_checkpoint({"step": 1, "weights": torch.ones(10)}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # as a disk with 1 MB left
    try:
        with pytest.raises(TrainingError, match=r"^checkpoint last: cannot be written \(.*\); expected room for 4 MB"):
            io.save_checkpoint({"step": 2, "weights": torch.ones(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert io.load_checkpoint(path)["step"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_read(
    tmp_path: Path, toy_config: RunConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^--out: run cannot be written to \(Not a directory\)"):
        check_writable(tmp_path / "file" / "run")
    import yaml

    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy_config.model_dump(mode="json")))
    monkeypatch.setattr("medfuse.training.read_cases", None)
    arguments = ["--config", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "file" / "run")]
    assert main(["train", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: --out: run cannot be written to")


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="no file system that cannot be written to")
def test_a_read_only_file_system_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be written to"):
        check_writable(Path("/proc/sys/run"))


def test_a_second_training_in_one_folder_is_refused_while_the_first_lives(
    toy: Any, toy_config: RunConfig, toy_cases: Sequence[Case], tmp_path: Path
) -> None:
    code = "import sys, time; from pathlib import Path; from medfuse.training.run_folder import held_folder\n"
    code += "with held_folder(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == b"held\n"
            with pytest.raises(UsageError, match=r"^--out: another training writes to run; expected one at a time"):
                train(toy_config, out=tmp_path / "run", manifest=toy.manifest, cases=toy_cases)
            assert list((tmp_path / "run").iterdir()) == []
        finally:
            os.kill(first.pid, signal.SIGKILL)
    with held_folder(tmp_path / "run"):  # a killed training holds nothing
        pass
