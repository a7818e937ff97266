from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from medfuse.cohorts import build_medmnist3d, medmnist3d
from medfuse.errors import UsageError
from medfuse.io import read_manifest, read_volume

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "adrenalmnist3d"
COUNTS = {"train": 3, "val": 2, "test": 2}


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    images = {f"{k}_images": rng.integers(0, 2, (n, 28, 28, 28), dtype=np.uint8) * 255 for k, n in COUNTS.items()}
    return images | {f"{k}_labels": np.arange(n, dtype=np.uint8)[:, None] % 2 for k, n in COUNTS.items()}


@pytest.fixture
def published(tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that is taken for the published one."""
    path = tmp_path / "any_name.npz"
    np.savez(path, **arrays)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(medmnist3d._FILES, md5, ("adrenalmnist3d", 28))
    return path


def test_voxels_labels_and_split_are_those_of_the_file(published, arrays, tmp_path):
    frame = read_manifest(build_medmnist3d(published, tmp_path / "out")).frame
    assert frame["split"].value_counts().to_dict() == {"train": 3, "validation": 2, "test": 2}
    assert frame["label_class"].tolist() == [
        "normal", "hyperplasia", "normal", "normal", "hyperplasia", "normal", "hyperplasia",
    ]  # fmt: skip
    expected = [*arrays["train_images"], *arrays["val_images"], *arrays["test_images"]]
    for path, voxels in zip(frame["image_path"], expected, strict=True):
        volume = read_volume(tmp_path / "out" / path)
        assert np.array_equal(volume.voxels, voxels)
        assert volume.spacing_mm == pytest.approx((64 / 28,) * 3)


def test_second_build_writes_nothing(published, tmp_path):
    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}

    build_medmnist3d(published, tmp_path / "out")
    before = times()
    build_medmnist3d(published, tmp_path / "out")
    assert times() == before


def test_a_file_of_another_md5_is_refused_and_nothing_written(published, tmp_path):
    with published.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UsageError, match=r"found a file of MD5 .*; expected a published file of adrenalmnist3d at 28"):
        build_medmnist3d(published, tmp_path / "out")
    with pytest.raises(UsageError, match="cannot be read"):
        build_medmnist3d(tmp_path / "absent.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "size"), [("adrenalmnist3d", 28), ("adrenalmnist3d_64", 64)])
def test_the_published_file_is_known(name, size):
    path = PUBLISHED / f"{name}.npz"
    if not path.exists():
        pytest.skip("needs the published file of AdrenalMNIST3D")
    assert medmnist3d._identify(path)[1:] == ("adrenalmnist3d", size)
