"""Faults of manifests, models and configurations."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file, save_file

from pipelines.fault_tools.variant import Sound, Variant, copy_sound

__all__ = ["LABELS", "MODEL"]

Make = Callable[[Path, Sound], None]
MARKER = f"{tempfile.gettempdir()}/PWNED_BY_FAULTCASE"


def _table(change: Callable[[pd.DataFrame], Any]) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.manifest, folder)
        frame = pd.read_csv(folder / "manifest.csv", dtype=str)
        changed = change(frame)
        (frame if changed is None else changed).to_csv(folder / "manifest.csv", index=False)

    return make


def _cell(row: int, column: str, value: str) -> Make:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return _table(change)


def _column(name: str, value: Callable[[int], str]) -> Make:
    def change(frame: pd.DataFrame) -> None:
        frame[name] = [value(row) for row in range(len(frame))]

    return _table(change)


def _rewritten(change: Callable[[str], bytes]) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.manifest, folder)
        path = folder / "manifest.csv"
        path.write_bytes(change(path.read_text()))

    return make


def _same_image(folder: Path, sound: Sound) -> None:
    """Give a patient of another split an image that is there already."""
    copy_sound(sound.manifest, folder)
    shutil.copyfile(folder / "img" / "s00.nii.gz", folder / "img" / "s09.nii.gz")


def _bundle(change: Callable[[Path], object], *, signed: bool = True) -> Make:
    """Return what changes a model, and makes its checksums right again, as one would who means harm."""

    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.model, folder)
        change(folder)
        if signed:
            names = sorted(path.name for path in folder.iterdir() if path.name != "sha256")
            lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
            (folder / "sha256").write_text("".join(lines))

    return make


def _flipped(name: str) -> Make:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return _bundle(change, signed=False)


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Make:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "weights.safetensors")
        change(tensors)
        save_file(tensors, folder / "weights.safetensors")

    return _bundle(edit)


def _one_nan(tensors: dict[str, torch.Tensor]) -> None:
    next(one for one in tensors.values() if one.is_floating_point()).view(-1)[0] = torch.nan


def _model(change: Callable[[dict[str, Any]], object]) -> Make:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        change(content)
        (folder / "model.json").write_text(json.dumps(content))

    return _bundle(edit)


def _file(name: str, data: bytes) -> Make:
    return _bundle(lambda folder: (folder / name).write_bytes(data))


def _foreign(name: str, data: bytes) -> Make:
    def make(folder: Path, _: Sound) -> None:
        (folder / name).write_bytes(data)

    return make


class _RunsCode:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARKER}",)


def _zipped_pickle(name: str) -> Make:
    """Write what torch writes, with an object in it that runs code."""

    def make(folder: Path, _: Sound) -> None:
        with zipfile.ZipFile(folder / name, "w") as file:
            file.writestr("model/data.pkl", pickle.dumps({"w": _RunsCode()}, protocol=2))
            file.writestr("model/version", b"3\n")

    return make


def _settings(change: Callable[[dict[str, Any]], object]) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        content = yaml.safe_load(sound.config.read_text())
        change(content)
        (folder / "config.yaml").write_text(yaml.safe_dump(content))

    return make


def _yaml(text: str | bytes) -> Make:
    def make(folder: Path, _: Sound) -> None:
        (folder / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def _manifest(make: Make, verdicts: str, words: str = "") -> Variant:
    return Variant(make, verdicts, words, "manifest")


def _checkpoint(make: Make, words: str) -> Variant:
    return Variant(make, "refuse", words, "checkpoint")


def _config(make: Make, words: str) -> Variant:
    return Variant(make, "refuse", words, "config")


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[3]]])


LABELS = {
    "lab_case_twice": _manifest(_table(_twice), "refuse", "second time|twice|duplicate"),
    "lab_patient_in_two_splits": _manifest(_cell(9, "patient_id", "P000"), "refuse", "patient in 2"),
    "lab_nan": _manifest(_cell(3, "label", "NaN"), "refuse warn", "label"),
    "lab_infinite": _manifest(_cell(3, "label", "inf"), "refuse warn", "label"),
    "lab_minus_one": _manifest(_cell(3, "label", "-1"), "refuse warn", "label"),
    "lab_fraction": _manifest(_cell(3, "label", "0.5"), "refuse warn", "label"),
    "lab_other_case": _manifest(_cell(3, "label", "Positive"), "refuse warn", "label"),
    "lab_one_class": _manifest(_column("label", lambda row: "1"), "refuse", "class"),
    "lab_all_blank": _manifest(_column("label", lambda row: ""), "refuse warn", "class|label"),
    "lab_utf16": _manifest(_rewritten(lambda text: text.encode("utf-16")), "refuse continue", "UTF-8|encoding"),
    "lab_latin": _manifest(_rewritten(lambda text: text.replace("P003", "Pé").encode("latin-1")), "refuse", "UTF-8"),
    "lab_nul": _manifest(_rewritten(lambda text: text.replace("P003", "P\0").encode()), "refuse continue", "."),
    "lab_ragged": _manifest(
        _rewritten(lambda text: text.replace("P003,", "P003,,").encode()), "refuse", "cells|columns"
    ),
    "lab_open_quote": _manifest(_rewritten(lambda text: text.replace("P003", '"P003').encode()), "refuse", "."),
    "lab_no_row": _manifest(_rewritten(lambda text: text.splitlines()[0].encode()), "refuse", "row|empty"),
    "lab_empty_file": _manifest(_rewritten(lambda text: b""), "refuse", "column|row|empty"),
    "lab_huge_cell": _manifest(_cell(3, "patient_id", "P" * 200_000), "refuse continue", "."),
    "lab_no_patient": _manifest(_cell(3, "patient_id", ""), "refuse", "patient_id"),
    "lab_leaves_the_folder": _manifest(_cell(3, "image", "../ctl_nifti/image.nii.gz"), "refuse", "leaves|outside"),
    "lab_absolute": _manifest(_cell(3, "image", "/etc/passwd"), "refuse", "absolute|outside"),
    "lab_image_is_a_folder": _manifest(_cell(3, "image", "img"), "refuse", "folder|image|series"),
    "lab_image_is_a_report": _manifest(_cell(3, "image", "rep/s00.txt"), "refuse", "image|NIfTI|DICOM"),
    "lab_report_is_a_folder": _manifest(_cell(3, "report", "rep"), "refuse", "report"),
    "lab_formula": _manifest(_cell(3, "patient_id", '=HYPERLINK("http://x")'), "continue warn refuse", "."),
    "lab_script": _manifest(_cell(3, "patient_id", "<script>alert(1)</script>"), "continue warn refuse", "."),
    "lab_image_in_two_splits": _manifest(_same_image, "refuse warn", "one image under several patients"),
    "lab_column_twice": _manifest(
        _rewritten(lambda text: text.replace("split", "label", 1).encode()), "refuse", "twice|column"
    ),
    "lab_date": _manifest(_column("study_date", lambda row: "31/12/2023"), "refuse", "date"),
    "lab_late_report": _manifest(
        _table(lambda frame: frame.assign(report_date="2024-02-01", outcome_date="2024-01-01")), "refuse", "after"
    ),
    "lab_tells": _manifest(
        _table(
            lambda frame: pd.concat(
                [
                    frame,
                    frame.assign(patient_id=frame["patient_id"] + "b", study_id=frame["study_id"] + "b", split="train"),
                ]
            ).assign(result=lambda both: both["label"].map({"0": "3.5", "1": "9.1"}))
        ),
        "warn refuse",
        "alone",
    ),
    "lab_nan_position": _manifest(
        _table(lambda frame: frame.assign(roi_x_mm="nan", roi_y_mm="1", roi_z_mm="2")), "refuse", "roi_x_mm"
    ),
    "lab_far_position": _manifest(
        _table(lambda frame: frame.assign(roi_x_mm="9000", roi_y_mm="1", roi_z_mm="2")),
        "refuse warn",
        "position|outside",
    ),
    "lab_unknown_unit": _manifest(_column("unit", lambda row: "hounsfield"), "refuse", "unit"),
}

BEYOND = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,800]}}'
WEIGHTS_ONLY = {
    "mod_cut_safetensors": _checkpoint(
        _foreign("model.safetensors", (99).to_bytes(8, "little") + b"{"), "corrupt|header"
    ),
    "mod_pickle_named_safetensors": _checkpoint(_zipped_pickle("model.safetensors"), "corrupt|header"),
    "mod_zipped_pickle": _checkpoint(_zipped_pickle("model.pt"), "pickle|code"),
    "mod_joblib": _checkpoint(_foreign("model.joblib", pickle.dumps({"a": 1})), "model|pickle|cannot|state dict"),
    "mod_empty": _checkpoint(_foreign("model.pt", b""), "cannot|empty|read"),
    "mod_header_beyond": _checkpoint(
        _foreign("model.safetensors", len(BEYOND).to_bytes(8, "little") + BEYOND + bytes(8)), "corrupt|header"
    ),
}

MODEL = {
    **WEIGHTS_ONLY,
    "mod_no_model": _checkpoint(lambda folder, sound: None, "model|read"),
    "mod_flipped_weights": _checkpoint(_flipped("weights.safetensors"), "changed|checksum"),
    "mod_flipped_settings": _checkpoint(_flipped("model.json"), "changed|checksum"),
    "mod_flipped_tokenizer": _checkpoint(_flipped("tokenizer.json"), "changed|checksum"),
    "mod_flipped_checksums": _checkpoint(_flipped("sha256"), "changed|checksum|cannot be read|other files"),
    "mod_signed_nan": _checkpoint(_weights(_one_nan), "NaN|finite"),
    "mod_signed_extra": _checkpoint(_weights(lambda w: w.update(extra=torch.zeros(3))), "do not fit|names"),
    "mod_signed_missing": _checkpoint(_weights(lambda w: w.popitem()), "do not fit|names"),
    "mod_signed_shape": _checkpoint(
        _weights(lambda w: w.update({next(iter(w)): torch.zeros(3, 5)})), "do not fit|shapes"
    ),
    "mod_signed_half": _checkpoint(
        _weights(lambda w: w.update({n: t.half() for n, t in list(w.items()) if t.is_floating_point()})),
        "do not fit|types",
    ),
    "mod_signed_pickle": _checkpoint(
        _file("weights.safetensors", pickle.dumps({"w": _RunsCode()})), "do not fit|weights"
    ),
    "mod_newer_format": _checkpoint(_model(lambda c: c.update(format=99)), "format"),
    "mod_three_classes": _checkpoint(
        _model(lambda c: c["targets"][0].update(kind="multiclass", classes=["a", "b", "c"])),
        "do not fit|class|wrong value",
    ),
    "mod_classes_turned": _checkpoint(_model(lambda c: c["targets"][0]["classes"].reverse()), "labels"),
    "mod_other_preparation": _checkpoint(
        _model(lambda c: c["preprocessing"]["image"].update(spacing_mm=2.0)), "preprocessing|digest"
    ),
    "mod_dotted_name": _checkpoint(
        _model(lambda c: c["model"]["image_encoder"].update(name="os.system")),
        "image_encoder|cannot be built|wrong value",
    ),
    "mod_path_in_checksums": _checkpoint(
        _bundle(
            lambda folder: (folder / "sha256").write_text(
                (folder / "sha256").read_text().replace("tokenizer.json", "../../etc/passwd")
            ),
            signed=False,
        ),
        "other files|read",
    ),
    "mod_deep_settings": _checkpoint(_file("model.json", b"[" * 100_000), "wrong value|nest|read"),
    "mod_nan_settings": _checkpoint(
        _model(lambda c: c["prevalence"].update(dict.fromkeys(c["prevalence"], float("nan")))),
        "wrong value|prevalence|finite",
    ),
    "cfg_unknown_key": _config(_settings(lambda c: c["optim"].update(learning_rat=1)), "learning_rat.*learning_rate"),
    "cfg_unknown_place": _config(_settings(lambda c: c.update(optmi={})), "optmi.*optim"),
    "cfg_wrong_kind": _config(_settings(lambda c: c["optim"].update(epochs="many")), "epochs"),
    "cfg_infinite": _config(_settings(lambda c: c["optim"].update(learning_rate=float("inf"))), "learning_rate"),
    "cfg_nan": _config(_settings(lambda c: c["optim"].update(learning_rate=float("nan"))), "learning_rate"),
    "cfg_negative": _config(_settings(lambda c: c["optim"].update(epochs=-3)), "epochs"),
    "cfg_huge_image": _config(_settings(lambda c: c["data"]["image"].update(size=[100_000] * 3)), "size"),
    "cfg_dotted_name": _config(
        _settings(lambda c: c["model"]["image_encoder"].update(name="os.system")), "os.system|name"
    ),
    "cfg_no_target": _config(_settings(lambda c: c.update(targets=[])), "targets"),
    "cfg_object": _config(_yaml(f'name: !!python/object/apply:os.system ["touch {MARKER}"]\n'), "YAML"),
    "cfg_module": _config(_yaml("name: !!python/name:os.system\n"), "YAML"),
    "cfg_deep": _config(_yaml("a: " + "[" * 5000 + "]" * 5000), "YAML|nest|deep"),
    "cfg_merge": _config(_yaml("a: &a {b: 1}\nc: {<<: *a}\n"), "alias"),
    "cfg_key_twice": _config(_yaml("name: a\nname: b\n"), "name"),
    "cfg_list": _config(_yaml("- name\n- seed\n"), "found|expected"),
    "cfg_empty": _config(_yaml(""), "found|expected"),
    "cfg_nul": _config(_yaml(b"name: \0\n"), "YAML|read"),
    "cfg_utf16": _config(_yaml("name: x\n".encode("utf-16")), "read|YAML"),
    "cfg_large": _config(_yaml("a: " + "x" * 2_000_000), "large"),
}
