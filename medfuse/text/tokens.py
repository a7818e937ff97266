"""The model's own tokenizer: words of the training reports, with offsets into the untouched text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medfuse.errors import BundleError, ReportTextError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PADDING_ID", "UNKNOWN_ID", "Encoding", "ReportTokenizer"]

PADDING, UNKNOWN = "[PAD]", "[UNK]"
PADDING_ID, UNKNOWN_ID = 0, 1
MAX_JSON_CHARACTERS = 20_000_000


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text as token ids.

    Parameters
    ----------
    ids : tuple of int
        L ids in ``[0, vocabulary_size)``.
    offsets : tuple of (int, int)
        Characters of the untouched text that each token stands for.
    truncated : bool
        True if tokens beyond the length limit were left out.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    truncated: bool


class ReportTokenizer:
    """Lower-cased words and runs of punctuation; unknown words become one id.

    Two tokenizers are equal if their vocabularies are. It is saved as JSON, never pickled.

    Parameters
    ----------
    vocabulary : mapping of str to int
        Ids 0 to n - 1, each once; ``[PAD]`` is 0 and ``[UNK]`` is 1.
    """

    __slots__ = ("_tokenizer",)

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._tokenizer = _build(vocabulary)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocabulary_size: int, min_frequency: int = 1) -> ReportTokenizer:
        """Learn the words of the training texts, the most frequent first.

        Parameters
        ----------
        texts : iterable of str
            Their order does not matter. The vocabulary is saved with the model: a rare word, such as a name
            that de-identification missed, is kept out by a higher `min_frequency`.
        vocabulary_size : int
            Upper bound of the vocabulary, the two special tokens included.
        min_frequency : int
            How often a word must occur to be kept.

        Returns
        -------
        ReportTokenizer

        Raises
        ------
        UsageError
            If the vocabulary would hold no word.

        Examples
        --------
        >>> ReportTokenizer.train(["A nodule."], vocabulary_size=100).encode("A mass.", max_length=8).ids
        (3, 1, 2)
        """
        from tokenizers import trainers

        tokenizer = _build({})
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocabulary_size,
            min_frequency=min_frequency,
            special_tokens=[PADDING, UNKNOWN],
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(texts), trainer)
        vocabulary = tokenizer.get_vocab()
        if len(vocabulary) <= 2 or vocabulary_size <= 2:
            raise UsageError(
                "tokenizer", "found no word to learn", expected="texts with words, vocabulary_size above 2"
            )
        return cls(vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, the two special ones included."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str, *, max_length: int, spans: Sequence[tuple[int, int]] | None = None) -> Encoding:
        """Turn text into token ids.

        Parameters
        ----------
        text : str
        max_length : int
            Tokens kept.
        spans : sequence of (int, int), optional
            Parts of the text to read, as `select_sections` gives them; by default all of it.

        Returns
        -------
        Encoding

        Raises
        ------
        ReportTextError
            If the spans hold no letter and no digit.
        """
        parts = tuple(spans) if spans is not None else ((0, len(text)),)
        if not any(character.isalnum() for start, end in parts for character in text[start:end]):
            raise ReportTextError("report", "found no word", expected="text with at least one letter or digit")
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, end in parts:
            encoded = self._tokenizer.encode(text[start:end])
            ids += encoded.ids
            offsets += [(start + a, start + b) for a, b in encoded.offsets]
        return Encoding(tuple(ids[:max_length]), tuple(offsets[:max_length]), len(ids) > max_length)

    def to_json(self) -> str:
        """Return the tokenizer as JSON, in the form of the tokenizers library."""
        return str(self._tokenizer.to_str())

    @classmethod
    def from_json(cls, content: str) -> ReportTokenizer:
        """Rebuild what `to_json` gave; of the JSON only the vocabulary is used.

        Parameters
        ----------
        content : str
            At most `MAX_JSON_CHARACTERS`.

        Returns
        -------
        ReportTokenizer

        Raises
        ------
        BundleError
            If it is no tokenizer of this kind.
        """
        where = "tokenizer.json"
        if len(content) > MAX_JSON_CHARACTERS:
            raise BundleError(where, "found more than 20 million characters", expected="a tokenizer")
        try:
            saved = json.loads(content)
            vocabulary = saved["model"]["vocab"]
            kind = (saved["model"]["type"], saved["normalizer"]["type"], saved["pre_tokenizer"]["type"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(where, "found no tokenizer", expected="one that medfuse saved") from error
        if kind != ("WordLevel", "Lowercase", "Whitespace"):
            raise BundleError(where, "found a tokenizer of another kind", expected="lower-cased words")
        if not _is_vocabulary(vocabulary):
            raise BundleError(
                where, "found other ids", expected=f"{PADDING} as 0, {UNKNOWN} as 1, each id up to the last once"
            )
        return cls(vocabulary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReportTokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[object, ...]:
        # Copies and worker processes go through the checked JSON: no pickled tokenizer state exists.
        return ReportTokenizer.from_json, (self.to_json(),)


def _build(vocabulary: Mapping[str, int]) -> Tokenizer:
    # The special tokens are plain entries of the vocabulary and not "added tokens": a report that says "[PAD]"
    # is read as three tokens and never as padding.
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary), unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _is_vocabulary(content: object) -> bool:
    if not isinstance(content, dict) or not all(type(i) is int for i in content.values()):
        return False
    special = (content.get(PADDING), content.get(UNKNOWN)) == (PADDING_ID, UNKNOWN_ID)
    return special and sorted(content.values()) == list(range(len(content)))
