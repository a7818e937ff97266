"""Any pretrained encoder of Hugging Face as a text encoder; needs the extra ``hf``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models import huggingface_files as files
from medfuse.models.low_rank import add_adapters
from medfuse.models.precision import InTrainDtype
from medfuse.models.text_encoder import TextEncoder

__all__ = ["HuggingFaceEncoder"]

WHERE = "model.text_encoder"
OWN_IDS = 2
"""Padding and unknown are ids 0 and 1 throughout medfuse: the pretrained model's id i is here ``i + OWN_IDS``."""
BUCKET = 32
RATE, ADAPTERS_RATE = 2e-5, 5e-4
"""Default learning rates of pretrained weights (Devlin et al. 2019, appendix A.3) and of adapters beside them (Hu et
al. 2021, table 9)."""
ADAPTED = ("query", "value", "query_proj", "value_proj", "q_lin", "v_lin", "q_proj", "v_proj", "q", "v")
"""What the layers of an attention's queries and values are called: Hu et al. 2021, section 7.1, adapt these two."""
KEPT = 20_000
"""Texts whose features are kept where the weights never change: some 30 MB."""


class HuggingFaceEncoder(TextEncoder, InTrainDtype):
    """A pretrained encoder (BERT, RoBERTa, DeBERTa, ModernBERT and their like), pooled over all tokens of a report.

    A report longer than `chunk_length` is read in chunks, each between its own special tokens; a token sees those
    of its chunk. Where its weights are not trained, a text that comes again is not read again: let ``augment`` leave
    the texts as they are. Its words are those that it was pretrained with: ``data.text.vocabulary_size`` changes
    nothing.

    Parameters
    ----------
    vocabulary_size : int
        Of its tokenizer, medfuse's own ids 0 (padding) and 1 (unknown) included.
    model_name_or_path : str
        A folder with config.json, model.safetensors and a tokenizer, or a model's id. Not read if `architecture` is
        given.
    revision : str, optional
        Of a model's id: branch, tag or commit.
    local_files_only : bool
        False lets a model's id be downloaded. Code from there is never run, and pickled weights are refused.
    pooling : {"mean", "cls"}
        The mean over the tokens, or the state of the first special token, over chunks by their length.
    trainable : bool
        Whether its weights are trained too, or only what follows.
    learning_rate : float, optional
        Of its weights, where they are trained: pretrained ones are lost at the rate that new ones need. By default
        2e-5, or 5e-4 of adapters.
    adapter_rank : int
        Train adapters of this rank beside the queries and values of its attention, and not its weights; 0 for none.
        See `medfuse.models.low_rank.LowRankLinear`.
    chunk_length : int
        Tokens read at once, special ones included.
    architecture : mapping, optional
        Written into saved models, so that they need no other file; leave it out.

    Raises
    ------
    ConfigError
        If the extra is not installed, the model is not found or not supported, or it cannot read so long a chunk.

    Notes
    -----
    Source: Devlin et al. 2019, BERT; Reimers & Gurevych 2019, Sentence-BERT, section 3 (pooling), where the mean
    takes in the special tokens, as it does not here.
    """

    def __init__(  # noqa: PLR0913 - an option of the configuration is an argument
        self,
        vocabulary_size: int,
        *,
        model_name_or_path: str = "",
        revision: str | None = None,
        local_files_only: bool = True,
        pooling: str = "mean",
        trainable: bool = False,
        learning_rate: float | None = None,
        adapter_rank: int = 0,
        chunk_length: int = 256,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "cls"):
            raise ConfigError(f"{WHERE}.pooling", f"found {pooling!r}", expected="'mean' or 'cls'")
        if adapter_rank < 0 or (adapter_rank and trainable):
            found = f"found {adapter_rank} with trainable: {str(trainable).lower()}"
            raise ConfigError(f"{WHERE}.adapter_rank", found, expected="0, or above it with trainable: false")
        if learning_rate is not None and not learning_rate > 0:
            raise ConfigError(f"{WHERE}.learning_rate", f"found {learning_rate}", expected="a number above 0")
        if architecture is None:
            folder = files.find_folder(model_name_or_path, revision=revision, local_files_only=local_files_only)
            self.architecture = files.read_architecture(folder)
            self.encoder = files.load_module(folder, self.architecture)
        else:
            self.architecture = _checked(architecture)
            self.encoder = files.build_module(self.architecture)
        self.pooling = pooling
        self.learns = trainable or adapter_rank > 0
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self.learning_rate = float(learning_rate or (ADAPTERS_RATE if adapter_rank else RATE))
        self.n_content = _content_length(self.architecture, chunk_length, pooling)
        self.feature_size = int(cast(Any, self.encoder.config).hidden_size)
        known = self._words.num_embeddings
        if max(vocabulary_size - OWN_IDS, *self.architecture.before, *self.architecture.after) > known:
            found = f"its tokenizer has ids above those of its {known} words"
            raise ConfigError(WHERE, found, expected="the tokenizer that it was trained with")
        if not trainable:
            self.encoder.requires_grad_(False)
        if adapter_rank and not add_adapters(self.encoder, rank=adapter_rank, names=ADAPTED):
            found = f"found no queries and values of their own in a {self.architecture.model_type} model"
            raise ConfigError(f"{WHERE}.adapter_rank", found, expected="0, or another model")
        self.train(self.training)

    @classmethod
    def tokenizer_json(cls, options: Mapping[str, Any]) -> str | None:
        """Return the tokenizer that it was pretrained with."""
        name, revision = str(options.get("model_name_or_path", "")), options.get("revision")
        local_files_only = bool(options.get("local_files_only", True))
        return files.read_tokenizer(files.find_folder(name, revision=revision, local_files_only=local_files_only))

    def saved_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with the architecture, and of a folder its name alone."""
        name = str(options.get("model_name_or_path", ""))
        folder = Path(name).expanduser()
        saved = {"model_name_or_path": folder.name if folder.is_dir() else name}
        return {**options, **saved, "architecture": self.architecture.model_dump(mode="json")}

    def train(self, mode: bool = True) -> Self:
        """Set the mode; weights that are not trained stay in eval mode, without dropout."""
        super().train(mode)
        self.encoder.train(mode and self.learns)
        return self

    def read(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Return features of token ids; of weights that are not trained, those kept of the same text."""
        if self.learns:
            return super().read(token_ids, token_mask)
        lengths = token_mask.sum(dim=1).tolist()
        features = [self._features_of(row[:length]) for row, length in zip(token_ids, lengths, strict=True)]
        return torch.stack(features).to(token_ids.device)

    @torch.no_grad()
    def _features_of(self, token_ids: Tensor) -> Tensor:
        # Each alone: what is kept must not hang on what stood beside it, down to the last bit.
        key = token_ids.cpu().numpy().tobytes()
        if key not in self._known:
            ids = token_ids[None]
            self._known[key] = super().read(ids, torch.ones_like(ids, dtype=torch.bool))[0].cpu()
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._known.clear()
        super()._load_from_state_dict(*arguments)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the embeddings of the tokens alone; positions are added where they are read."""
        own = token_ids < OWN_IDS  # what is unknown here was hidden: the encoder knows a token for that
        embedded: Tensor = self._words(torch.where(own, self.architecture.mask, token_ids - OWN_IDS))
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return the last layer's states; for pooling ``"cls"``, that of the chunk's first token behind each."""
        n_cases, length = token_mask.shape
        n_chunks = math.ceil(length / self.n_content)
        missing = n_chunks * self.n_content - length
        chunks = F.pad(embedded, (0, 0, 0, missing)).reshape(n_cases * n_chunks, self.n_content, -1)
        lengths = F.pad(token_mask, (0, missing)).reshape(n_cases * n_chunks, self.n_content).sum(dim=1)
        size = self.feature_size * (1 + (self.pooling == "cls"))
        states = embedded.new_zeros(len(chunks), self.n_content, size)
        # Chunks of like length together: padding is the greater part of a mixed batch.
        widths = (lengths + BUCKET - 1).div(BUCKET, rounding_mode="floor") * BUCKET
        for width in sorted(set(widths[widths > 0].tolist())):
            rows = (widths == width).nonzero()[:, 0]
            width = min(width, self.n_content)
            read = self._read(chunks[rows, :width], lengths[rows])
            states = states.index_copy(0, rows, F.pad(read, (0, 0, 0, self.n_content - width)))
        return states.reshape(n_cases, n_chunks * self.n_content, size)[:, :length]

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the mean over the real tokens, of their own states or of their chunks' first."""
        real = token_mask[..., None]
        pooled = states[..., -self.feature_size :].masked_fill(~real, 0.0)
        return pooled.sum(dim=1) / real.sum(dim=1)

    def _read(self, chunks: Tensor, lengths: Tensor) -> Tensor:
        """Read chunks, shape (n, width, D), between their special tokens; padding gets zeros."""
        n, width, _ = chunks.shape
        before, after = (self._special(ids, n) for ids in (self.architecture.before, self.architecture.after))
        first, place = before.shape[1], torch.arange(before.shape[1] + width + after.shape[1], device=chunks.device)
        given = torch.cat([before, chunks, torch.zeros_like(after)], dim=1)
        for k in range(after.shape[1]):  # what ends a text follows its last real token
            here = place == (first + lengths + k)[:, None]
            given = torch.where(here[..., None], after[:, k : k + 1], given)
        mask = place < (first + lengths + after.shape[1])[:, None]
        in_bfloat16 = self.training and self.learns and self.train_dtype == torch.bfloat16
        with torch.autocast(given.device.type, torch.bfloat16, enabled=in_bfloat16):
            states: Tensor = self.encoder(inputs_embeds=given, attention_mask=mask.long()).last_hidden_state
        states = states.to(given.dtype)
        tokens = states[:, first : first + width]
        if self.pooling == "cls":
            tokens = torch.cat([tokens, states[:, :1].expand(-1, width, -1)], dim=2)
        return tokens.masked_fill((place[:width] >= lengths[:, None])[..., None], 0.0)

    def _special(self, ids: tuple[int, ...], n: int) -> Tensor:
        tokens = torch.tensor(ids, dtype=torch.int64, device=self._words.weight.device)
        embedded: Tensor = self._words(tokens)
        return embedded.expand(n, -1, -1)

    @property
    def _words(self) -> nn.Embedding:
        words: nn.Embedding = self.encoder.get_input_embeddings()  # type: ignore[operator]
        return words


def _checked(architecture: Mapping[str, Any]) -> files.Architecture:
    try:
        return files.Architecture.model_validate(architecture)
    except ValidationError as error:
        expected = "what a saved model holds there"
        raise ConfigError(f"{WHERE}.architecture", "found a missing or wrong value", expected=expected) from error


def _content_length(architecture: files.Architecture, chunk_length: int, pooling: str) -> int:
    """Return how many tokens of a text fit into a chunk."""
    where, n_special = f"{WHERE}.chunk_length", len(architecture.before) + len(architecture.after)
    most = files.n_positions(architecture)
    if chunk_length <= n_special or (most is not None and chunk_length > most):
        upper = "more" if most is None else f"up to {most}; longer reports are read in chunks"
        raise ConfigError(where, f"found {chunk_length}", expected=f"{n_special + 1} or {upper}")
    if pooling == "cls" and not architecture.before:
        raise ConfigError(f"{WHERE}.pooling", "found 'cls' for a model without a first token", expected="'mean'")
    return chunk_length - n_special
