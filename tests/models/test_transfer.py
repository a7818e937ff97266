from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medfuse.errors import ConfigError
from medfuse.models.residual_networks import ResNet10
from medfuse.models.small_cnns import SmallCnn
from medfuse.models.transfer import layers_of, load_weights, read_weights


def encoder(seed: int) -> SmallCnn:
    torch.manual_seed(seed)
    return SmallCnn(1, (8, 8, 8), widths=(2, 3))


def save(weights: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    elif path.suffix == ".ckpt":
        torch.save({"state_dict": weights, "epoch": 3}, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.ckpt"])
def test_weights_and_running_statistics_come_over_whole(name, tmp_path):
    old, new, image = encoder(0), encoder(1), torch.rand(4, 1, 8, 8, 8)
    old.train()(image)
    path = save({f"module.{k}": v for k, v in old.state_dict().items()}, tmp_path / name)
    report = load_weights(new, path, prefix="module.")
    assert set(report.loaded) == set(old.state_dict())
    assert (report.missing, report.unexpected, report.misshapen, report.ignored) == ((), (), (), 0)
    assert torch.equal(old.eval()(image), new.eval()(image))


def test_every_name_is_accounted_for_and_what_does_not_fit_stays(tmp_path):
    old, new = encoder(0), encoder(1)
    given = {f"encoders.image.{k}": v for k, v in old.state_dict().items()}
    del given["encoders.image.blocks.0.weight"]
    given["encoders.image.blocks.3.weight"] = torch.zeros(5, 2, 3, 3, 3)
    given |= {"encoders.image.extra": torch.zeros(1), "heads.weight": torch.zeros(1)}
    before = {k: v.clone() for k, v in new.state_dict().items()}
    report = load_weights(new, save(given, tmp_path / "a.safetensors"), prefix="encoders.image.")
    assert report.missing == ("blocks.0.weight",)
    assert report.unexpected == ("extra",)
    assert report.misshapen == ("blocks.3.weight",)
    assert report.ignored == 1
    for name, tensor in new.state_dict().items():
        is_loaded = name in report.loaded
        assert torch.equal(tensor, old.state_dict()[name] if is_loaded else before[name])
    assert str(report) == (
        f"{len(report.loaded)} loaded, 1 missing (blocks.0.weight), 1 unexpected (extra), "
        "1 misshapen (blocks.3.weight), 1 of other parts"
    )


def test_a_file_without_any_fitting_name_is_refused(tmp_path):
    path = save({"conv.weight": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"found 1 names, none of which fits behind the prefix 'x\.'"):
        load_weights(encoder(0), path, prefix="x.")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code was run",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"a": Harmful()}, protocol=2))
    with pytest.raises(ConfigError, match=r"a.pt holds pickled objects, which could run code"):
        load_weights(encoder(0), path)
    torch.save({"a": Harmful()}, path)
    with pytest.raises(ConfigError, match=r"a.pt holds pickled objects"):
        load_weights(encoder(0), path)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no tensors", None, struct.pack("<Q", 2**62) + b"{}"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_file_that_cannot_be_read_is_refused(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read|holds pickled objects|is corrupt: its header"):
        load_weights(encoder(0), tmp_path / name)


def test_every_flipped_byte_of_a_tensor_in_a_file_of_torch_is_refused(tmp_path):
    path = save({"weight": torch.arange(6.0)}, tmp_path / "a.pt")
    whole = path.read_bytes()
    start = whole.index(torch.arange(6.0).numpy().tobytes())
    for place in range(start, start + 24):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ConfigError, match=r"a.pt is corrupt: a checksum \(CRC\)"):
            read_weights(path)


def test_a_file_of_torch_that_was_compressed_or_cut_is_refused(tmp_path):
    path = save({"weight": torch.zeros(1000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part))
    with pytest.raises(ConfigError, match="holds compressed parts"):
        read_weights(tmp_path / "b.pt")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ConfigError, match=r"cannot be read|holds pickled|is corrupt"):
        read_weights(path)


def test_a_zip_that_spans_several_disks_is_refused(tmp_path):
    locator, end = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2), b"PK\x05\x06" + bytes(18)
    (tmp_path / "a.pt").write_bytes(locator + end)
    with pytest.raises(ConfigError, match=r"a.pt is corrupt; expected a whole file"):
        read_weights(tmp_path / "a.pt")


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    weights = encoder(0).state_dict()
    weights["blocks.0.weight"][0] = torch.nan
    with pytest.raises(ConfigError, match=r"not finite in 'blocks\.0\.weight'"):
        load_weights(encoder(1), save(dict(weights), tmp_path / "a.pt"))


def test_layers_go_from_the_input_to_what_describes_the_last_map():
    network = ResNet10(1, (16, 16, 16), width=2)
    layers = layers_of(network)
    assert sum(len(layer) for layer in layers) == len(list(network.parameters()))
    assert layers[0] == list(network.stem.parameters())
    assert layers[1:-1] == [list(stage.parameters()) for stage in network.stages[:-1]]
    assert layers[-1] == [*network.stages[-1].parameters(), *network.pooled_norm.parameters()]
