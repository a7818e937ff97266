"""Text -> token ids with offsets into the untouched text; the model's own tokenizer, of the training reports' words."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from medfuse.errors import BundleError, ReportTextError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PADDING_ID", "UNKNOWN_ID", "Encoding", "ReportTokenizer", "TextTokenizer"]

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


class TextTokenizer(ABC):
    """What every tokenizer offers: id 0 is padding, id 1 an unknown or hidden word, whatever the others mean.

    Two tokenizers are equal if they read every text alike. Each is saved as JSON, never pickled.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    """

    __slots__ = ("_tokenizer",)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """Ids are in ``[0, vocabulary_size)``."""

    @abstractmethod
    def _read(self, text: str) -> Iterable[tuple[int, tuple[int, int]]]:
        """Yield the id and the offsets of each token of a text."""

    @classmethod
    @abstractmethod
    def from_json(cls, content: str) -> Self:
        """Rebuild what `to_json` gave, checked."""

    def to_json(self) -> str:
        """Return the tokenizer as JSON, in the form of the tokenizers library."""
        return str(self._tokenizer.to_str())

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
        has_word = any(character.isalnum() for start, end in parts for character in text[start:end])
        tokens = [(i, (start + a, start + b)) for start, end in parts for i, (a, b) in self._read(text[start:end])]
        if not (has_word and tokens):
            raise ReportTextError("report", "found no word", expected="text with at least one letter or digit")
        ids, offsets = zip(*tokens[:max_length], strict=True)
        return Encoding(ids, offsets, len(tokens) > max_length)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[object, ...]:
        # Copies and worker processes go through the checked JSON: no pickled tokenizer state exists.
        return type(self).from_json, (self.to_json(),)


class ReportTokenizer(TextTokenizer):
    """Lower-cased words and runs of punctuation; unknown words become one id.

    Parameters
    ----------
    vocabulary : mapping of str to int
        Ids 0 to n - 1, each once; ``[PAD]`` is 0 and ``[UNK]`` is 1.
    """

    __slots__ = ()

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        super().__init__(_build(vocabulary))

    @classmethod
    def train(cls, texts: Iterable[str], *, vocabulary_size: int, min_frequency: int = 1) -> Self:
        """Learn the words of the training texts, the most frequent first.

        Parameters
        ----------
        texts : iterable of str
            Their order does not matter. The vocabulary is saved with the model: what looks like identity is not
            learnt, and a rare word, such as a name that the rules missed, is kept out by a higher `min_frequency`.
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
        tokenizer.train_from_iterator(sorted(_without_identity(text) for text in texts), trainer)
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

    def _read(self, text: str) -> Iterable[tuple[int, tuple[int, int]]]:
        encoded = self._tokenizer.encode(text)
        return zip(encoded.ids, encoded.offsets, strict=True)

    @classmethod
    def from_json(cls, content: str) -> Self:
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
        saved = read_json(content)
        try:
            vocabulary = saved["model"]["vocab"]
            kind = (saved["model"]["type"], saved["normalizer"]["type"], saved["pre_tokenizer"]["type"])
        except (KeyError, TypeError) as error:
            raise BundleError(where, "found no tokenizer", expected="one that medfuse saved") from error
        if kind != ("WordLevel", "Lowercase", "Whitespace"):
            raise BundleError(where, "found a tokenizer of another kind", expected="lower-cased words")
        if not _is_vocabulary(vocabulary):
            raise BundleError(
                where, "found other ids", expected=f"{PADDING} as 0, {UNKNOWN} as 1, each id up to the last once"
            )
        return cls(vocabulary)


def read_json(content: str) -> Any:
    """Return what a tokenizer's JSON holds.

    Parameters
    ----------
    content : str
        At most `MAX_JSON_CHARACTERS`.

    Raises
    ------
    BundleError
        If it is longer, or no JSON.
    """
    where = "tokenizer.json"
    if len(content) > MAX_JSON_CHARACTERS:
        raise BundleError(where, "found more than 20 million characters", expected="a tokenizer")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(where, "found no tokenizer", expected="one that medfuse saved") from error


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


def _without_identity(text: str) -> str:
    """Leave out what looks like identity.

    Examples
    --------
    >>> _without_identity("Dr. Miller saw a nodule.")
    'Dr. saw a nodule.'
    """
    from medfuse.text.identity_rules import find_identity

    pieces, done = [], 0
    for start, end, _ in find_identity(text):
        pieces.append(text[done:start].rstrip(" "))
        done = end
    return "".join([*pieces, text[done:]])
