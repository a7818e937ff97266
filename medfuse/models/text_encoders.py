"""The text encoders by name."""

from __future__ import annotations

from medfuse.models.huggingface import HuggingFaceEncoder
from medfuse.models.recurrent_encoders import GruEncoder, LstmEncoder
from medfuse.models.text_encoder import TextEncoder
from medfuse.models.transformer_encoder import TransformerEncoder
from medfuse.models.word_encoders import BagEncoder, WordCnnEncoder

__all__ = ["TEXT_ENCODERS", "GruEncoder", "TextEncoder", "WordCnnEncoder"]

TEXT_ENCODERS: dict[str, type[TextEncoder]] = {
    "bag": BagEncoder,
    "gru": GruEncoder,
    "huggingface": HuggingFaceEncoder,
    "lstm": LstmEncoder,
    "transformer": TransformerEncoder,
    "word_cnn": WordCnnEncoder,
}
