"""A folder in the form of Hugging Face -> architecture, weights, tokenizer. Nothing in it is executed."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from medfuse.errors import ConfigError, nearest_name

__all__ = ["Architecture", "build_module", "find_folder", "load_module", "read_architecture", "read_tokenizer"]

WHERE = "model.text_encoder"
EXTRA = "transformers, as in: pip install 'medfuse[hf]'"
SUPPORTED = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "megatron-bert",
    "modernbert",
    "mpnet",
    "roberta",
    "roformer",
    "xlm-roberta",
)
"""Encoders that read embedded tokens and a mask and give each token in its context; each is tested."""
NUMBERED_FROM_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Their first position is the padding's id plus 1, so that they have fewer than their table has rows."""
NOT_ARCHITECTURE = {
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "auto_map",
    "dtype",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "quantization_config",
    "return_dict",
    "tie_word_embeddings",
    "transformers_version",
    "use_cache",
}
FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json", "vocab*",
         "merges.txt", "*.model")  # fmt: skip
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")

TokenId = Annotated[int, Field(ge=0)]


class Architecture(BaseModel):
    """All that an encoder is, its weights aside; saved in model.json.

    Parameters
    ----------
    config : mapping
        Of transformers: ``model_type`` and its sizes.
    before, after : tuple of int
        Ids of the special tokens that enclose a text, for example ``[CLS]`` and ``[SEP]``.
    mask : int
        Id of the token that stands for a hidden word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any]
    before: tuple[TokenId, ...]
    after: tuple[TokenId, ...]
    mask: TokenId

    @property
    def model_type(self) -> str:
        """Name of the architecture in transformers."""
        return str(self.config.get("model_type"))


def find_folder(model_name_or_path: str, *, revision: str | None, local_files_only: bool) -> Path:
    """Return the folder of a model: itself, or where the cache of downloads has it.

    Parameters
    ----------
    model_name_or_path : str
        A folder, or a model's id; a folder of that name wins.
    revision : str, optional
        Of a model's id: branch, tag or commit.
    local_files_only : bool
        False lets it be downloaded; of pickles and code nothing ever is.

    Raises
    ------
    ConfigError
        If there is no such folder or model.
    """
    path = Path(model_name_or_path).expanduser()
    if model_name_or_path and path.is_dir():
        if revision is not None:
            raise ConfigError(f"{WHERE}.revision", "found one beside a folder", expected="none: a folder has no other")
        return path
    where = f"{WHERE}.model_name_or_path"
    if not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", model_name_or_path):
        models = [f.parent.name for f in path.parent.glob("*/config.json")]
        expected = nearest_name(path.name, models) if models else "a folder with config.json, or a model's id"
        raise ConfigError(where, f"found no folder {path.name!r}", expected=expected)
    _check_extra()
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            model_name_or_path, revision=revision, local_files_only=local_files_only, allow_patterns=list(FILES)
        )
    except (OSError, ValueError, RuntimeError) as error:
        expected = nearest_name(model_name_or_path, _cached_models())
        if local_files_only:
            expected += ", a folder, or local_files_only: false, which downloads it"
        found_not = f"found no model {model_name_or_path!r} ({type(error).__name__})"
        raise ConfigError(where, found_not, expected=expected) from error
    return Path(found)


def read_architecture(folder: Path) -> Architecture:
    """Read what a model is, and refuse what could run code.

    Raises
    ------
    ConfigError
        If its architecture is not supported or brings code of its own, its weights are pickles, or its tokenizer
        cannot be read.
    """
    where = f"{WHERE} {folder.name}"
    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"its config.json cannot be read ({type(error).__name__})"
        raise ConfigError(where, found, expected="a model's folder") from error
    if not isinstance(stated, dict):
        raise ConfigError(where, "its config.json holds no keys", expected="model_type and sizes")
    _check_type(str(stated.get("model_type")), where)
    if "auto_map" in stated:
        raise ConfigError(where, "it needs code of its own", expected="an architecture of transformers itself")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(f.name for pattern in PICKLES for f in folder.glob(pattern))
        found = f"found weights as {pickles[0]}, which could run code" if pickles else "found no weights"
        raise ConfigError(where, found, expected="model.safetensors")
    config = _plain(_config(stated, where).to_dict())
    tokenizer = _tokenizer(folder)
    # Of one word, so that what comes before and after it is seen.
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    n_before, n_after = special.index(0), special[::-1].index(0)
    mask = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    if mask is None:
        raise ConfigError(where, "its tokenizer has no mask token and no unknown token", expected="one of them")
    return Architecture(
        config=config,
        before=tuple(ids[:n_before]),
        after=tuple(ids[len(ids) - n_after :]),
        mask=mask,
    )


def read_tokenizer(folder: Path) -> str:
    """Return a model's tokenizer as JSON of the tokenizers library, made from its older files if it has no other."""
    return str(_tokenizer(folder).backend_tokenizer.to_str())


def build_module(architecture: Architecture) -> nn.Module:
    """Return the model with random weights, for those of a saved model.

    Raises
    ------
    ConfigError
        If there is no such architecture, or its sizes do not fit each other.
    """
    _check_extra()
    _check_type(architecture.model_type, WHERE)
    from transformers import AutoModel

    config = _config(architecture.config, WHERE)
    try:
        with _quiet():
            return _without_pooler(AutoModel.from_config(config, trust_remote_code=False))
    except _failures() as error:
        found = f"found sizes of no {architecture.model_type} model ({type(error).__name__})"
        raise ConfigError(f"{WHERE}.architecture", found, expected="those of its training") from error


def load_module(folder: Path, architecture: Architecture) -> nn.Module:
    """Return the model with the weights of its folder, as float32.

    Raises
    ------
    ConfigError
        If weights are missing, damaged or of other shapes.
    """
    import torch
    from transformers import AutoModel

    where = f"{WHERE} {folder.name}"
    try:
        with _quiet():
            module, report = AutoModel.from_pretrained(
                folder,
                config=_config(architecture.config, where),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except _failures() as error:
        found = f"its weights do not load ({type(error).__name__})"
        raise ConfigError(where, found, expected="those of its config.json") from error
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    if missing:  # transformers would go on with random ones
        found = f"it lacks {len(missing)} weights, for example {min(missing)!r}"
        raise ConfigError(where, found, expected="those of its config.json")
    return _without_pooler(module)


def n_positions(architecture: Architecture) -> int | None:
    """Return how many tokens the model can read at once, special ones included; None if any number."""
    rows = architecture.config.get("max_position_embeddings")
    if not isinstance(rows, int):
        return None
    lost = int(architecture.config.get("pad_token_id") or 0) + 1
    return rows - lost if architecture.model_type in NUMBERED_FROM_PADDING else rows


def _check_extra() -> None:
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"{WHERE} huggingface", "its package is not installed", expected=EXTRA)


def _check_type(model_type: str, where: str) -> None:
    if model_type not in SUPPORTED:
        raise ConfigError(where, f"found architecture {model_type!r}", expected=nearest_name(model_type, SUPPORTED))


def _config(stated: Mapping[str, Any], where: str) -> Any:
    """Return the configuration object of what is stated, less all that is not architecture."""
    from transformers import AutoConfig

    try:
        with _quiet():
            return AutoConfig.for_model(**_plain(stated))
    except _failures() as error:
        found = f"found values that no {stated.get('model_type')} model has ({type(error).__name__})"
        raise ConfigError(where, found, expected="a config.json of transformers") from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what transformers raises where a file does not fit."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    known = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
    return (*known, SafetensorError, StrictDataclassError)


def _plain(stated: Mapping[str, Any]) -> dict[str, Any]:
    # Also keeps out what picks attention code: that could be fetched from outside.
    return {k: v for k, v in stated.items() if k not in NOT_ARCHITECTURE and "implementation" not in k}


def _tokenizer(folder: Path) -> Any:
    _check_extra()
    from transformers import AutoTokenizer

    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=True
            )
    except _failures() as error:
        found = f"its tokenizer cannot be read ({type(error).__name__})"
        raise ConfigError(f"{WHERE} {folder.name}", found, expected="tokenizer.json, or vocab.txt") from error
    if not tokenizer.is_fast:
        raise ConfigError(f"{WHERE} {folder.name}", "its tokenizer keeps no offsets", expected="tokenizer.json")
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_ids):  # what transformers makes without files
        found = "its tokenizer has no words"
        raise ConfigError(f"{WHERE} {folder.name}", found, expected="tokenizer.json, or vocab.txt")
    return tokenizer


def _without_pooler(module: nn.Module) -> nn.Module:
    """Drop the layer behind the encoder, which nothing here reads."""
    if getattr(module, "pooler", None) is not None:
        module.pooler = cast(nn.Module, None)
    return module


def _cached_models() -> list[str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice from the command line."""
    from transformers.utils import logging as talk

    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity(logging.CRITICAL)
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()
