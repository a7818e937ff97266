"""The tokenizer that a pretrained encoder was trained with, with offsets into the untouched text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from medfuse.errors import BundleError
from medfuse.text.tokens import UNKNOWN_ID, ReportTokenizer, TextTokenizer, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["OWN_IDS", "PretrainedTokenizer", "tokenizer_from_json"]

OWN_IDS = 2
"""medfuse's own ids, padding and unknown, come first: the pretrained model's id i is here ``i + OWN_IDS``."""
KINDS = ("BPE", "Unigram", "WordLevel", "WordPiece")


class PretrainedTokenizer(TextTokenizer):
    """Parts of words as a pretrained encoder knows them; made by `from_json`.

    It adds no special tokens: the encoder does, once for each part of a long text that it reads. A report that says
    "[SEP]" is read as plain text or as unknown, never as the special token.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Set to keep every token and to read special ones as text.
    """

    __slots__ = ("_special",)

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        added = tokenizer.get_added_tokens_decoder()
        self._special = {i: token.content.casefold() for i, token in added.items() if token.special}

    @property
    def vocabulary_size(self) -> int:
        """Highest id of the pretrained model, plus 1 and medfuse's own two ids."""
        return OWN_IDS + 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def _read(self, text: str) -> Iterable[tuple[int, tuple[int, int]]]:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        for i, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            word = text[start:end].lstrip()  # some kinds count the space before a word to it
            start, word = end - len(word), word.rstrip()
            written = word.casefold() == self._special.get(i)
            yield UNKNOWN_ID if written else i + OWN_IDS, (start, start + len(word))

    @classmethod
    def from_json(cls, content: str) -> Self:
        """Build the tokenizer from the ``tokenizer.json`` of a pretrained encoder, or from what `to_json` gave.

        Its limit of length and its padding are not taken over.

        Parameters
        ----------
        content : str
            At most `MAX_JSON_CHARACTERS`.

        Returns
        -------
        PretrainedTokenizer

        Raises
        ------
        BundleError
            If it is no tokenizer, or one without words.
        """
        from tokenizers import Tokenizer

        where = "tokenizer.json"
        kind = _kind(read_json(content))
        if kind not in KINDS:
            raise BundleError(where, "found a tokenizer of another kind", expected=f"one of {', '.join(KINDS)}")
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise BundleError(where, "found no tokenizer", expected="one of the tokenizers library") from error
        if not tokenizer.get_vocab_size(with_added_tokens=False):
            raise BundleError(where, "found an empty vocabulary", expected="a tokenizer with words")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return cls(tokenizer)


def tokenizer_from_json(content: str) -> TextTokenizer:
    """Rebuild either kind of tokenizer from what its `to_json` gave.

    Parameters
    ----------
    content : str

    Returns
    -------
    ReportTokenizer or PretrainedTokenizer

    Raises
    ------
    BundleError
        If it is neither.

    Examples
    --------
    >>> own = ReportTokenizer.train(["A nodule."], vocabulary_size=100)
    >>> tokenizer_from_json(own.to_json()) == own
    True
    """
    saved = read_json(content)
    own = isinstance(saved, dict) and _kind(saved) == "WordLevel" and _kind(saved, of="normalizer") == "Lowercase"
    return ReportTokenizer.from_json(content) if own else PretrainedTokenizer.from_json(content)


def _kind(saved: Any, *, of: str = "model") -> str:
    part = saved.get(of) if isinstance(saved, dict) else None
    return str(part.get("type")) if isinstance(part, dict) else ""
