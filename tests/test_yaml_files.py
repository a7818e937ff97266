from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.config import load_config
from medfuse.errors import ConfigError
from medfuse.training import read_grid, read_space
from medfuse.yaml_files import MAX_BYTES, parse_yaml, read_yaml

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
WRONG = {
    "alias": (BOMB, "found a YAML alias"),
    "python tag": ("a: !!python/object/apply:os.system ['true']\n", "found invalid YAML"),
    "deep": ("a: " + "[" * 2000 + "]" * 2000, "found YAML nested too deep"),
    "deep mapping": ("".join(f"{' ' * n}a:\n" for n in range(300)), "found YAML nested too deep"),
    "no date": ("a: 2024-13-45\n", "found a YAML value that cannot be read"),
    "long number": (f"a: {'1' * 5000}\n", "found a YAML value that cannot be read"),
    "tag on the wrong value": ("a: !!timestamp x\n", "found a YAML value that cannot be read"),
    "tag on a mapping": ("a: !!int {b: 1}\n", "found invalid YAML"),
    "list as key": ("? [a]\n: b\n", "found invalid YAML"),
    "key twice": ("a: {b: 1, c: [{d: 1}, {d: 2, d: 3}]}\n", "found key 'd' twice"),
    "control character": ("a: \x01\n", "found invalid YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_plain_data_is_refused_by_name(name: str, tmp_path: Path) -> None:
    text, message = WRONG[name]
    path = tmp_path / "x.yaml"
    path.write_text(text)
    for read in (read_yaml, load_config, read_grid, read_space):
        with pytest.raises(ConfigError, match=rf"^x\.yaml.*: {message}"):
            read(path)
    with pytest.raises(ConfigError, match=rf"^--set optim.*: {message}"):
        load_config({"targets": [{"name": "x", "classes": ["no", "yes"]}]}, overrides=[f"optim={text}"])


def test_a_file_above_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(path)


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe")
    for name in ("x.yaml", "none.yaml", "nul\0.yaml", ""):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(tmp_path / name)


def test_a_key_that_is_no_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("2024-01-01: 3\n")
    with pytest.raises(ConfigError, match="found a key that is no name"):
        load_config(tmp_path / "x.yaml")


def test_plain_values_are_read() -> None:
    assert parse_yaml("a: [1, x, 2.5, true, null]", where="x") == {"a": [1, "x", 2.5, True, None]}
