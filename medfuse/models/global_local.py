"""The aligner that also matches words to regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from medfuse.errors import ConfigError, UsageError
from medfuse.models.aligner import NO_CONTEXT, Aligner, AlignmentContext
from medfuse.models.contrastive import symmetric_infonce
from medfuse.tensors import LocalFeatures

__all__ = ["GlobalLocal"]


class GlobalLocal(Aligner):
    """InfoNCE between whole embeddings, and between each report's words and the image regions they attend to.

    Every word of a report looks for its regions in every image of the batch; how well all its words find theirs is
    the match of report and image, which a case's own pair must win. Images are ``"image"``, words are ``"text"``;
    of other modalities the whole embeddings count alone.

    Parameters
    ----------
    modalities : tuple of str
    region_sharpness : float
        How sharply a word looks at its best regions (``temp1`` in the authors' code).
    word_sharpness : float
        How far the best words decide a match (``temp2``).
    match_sharpness : float
        Inverse temperature of both contrasts (``temp3``).
    local_weight : float
        Of words and regions, beside the whole embeddings, which weigh 1; above 0.

    Raises
    ------
    ConfigError
        If an option is not above 0.
    UsageError
        If images and texts come without their regions and words.

    Notes
    -----
    Source: Huang et al. 2021, GLoRIA, sections 3.2 (attention) and 3.3 (global and local loss), with the attention of
    its code, which is that of Xu et al. 2018, AttnGAN, equations 7 to 11. Each loss is the mean of both directions,
    where the source has their sum.

    Examples
    --------
    >>> aligner, present = GlobalLocal(("image", "text")), torch.ones(2, 2, dtype=torch.bool)
    >>> words = LocalFeatures(torch.eye(2)[:, None], torch.ones(2, 1, dtype=torch.bool))
    >>> loss = aligner({"image": torch.eye(2), "text": torch.eye(2)}, present, AlignmentContext(
    ...     local={"image": words, "text": words}))
    >>> bool(loss < 1e-3)
    True
    """

    reads_local: ClassVar[bool] = True
    fewest_pairs: ClassVar[int] = 2

    def __init__(
        self,
        modalities: tuple[str, ...],
        *,
        region_sharpness: float = 4.0,
        word_sharpness: float = 5.0,
        match_sharpness: float = 10.0,
        local_weight: float = 1.0,
    ) -> None:
        super().__init__(modalities)
        options = {
            "region_sharpness": region_sharpness,
            "word_sharpness": word_sharpness,
            "match_sharpness": match_sharpness,
            "local_weight": local_weight,
        }
        for name, value in options.items():
            if not value > 0:
                raise ConfigError(f"model.aligner.{name}", f"found {value}", expected="a number above 0")
        self.region_sharpness = region_sharpness
        self.word_sharpness = word_sharpness
        self.match_sharpness = match_sharpness
        self.local_weight = local_weight

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the mean over all pairs of modalities; image and text count their words too."""
        losses = []
        for names, first, second in self.pairs(embeddings, present):
            loss = symmetric_infonce(self.match_sharpness * first @ second.T)
            if set(names) == {"image", "text"}:
                both = present[:, self.modalities.index("image")] & present[:, self.modalities.index("text")]
                loss = loss + self.local_weight * self._local_loss(context.local, both)
            losses.append(loss)
        return self.mean_of(losses, embeddings)

    def _local_loss(self, local: Mapping[str, LocalFeatures], both: Tensor) -> Tensor:
        if not {"image", "text"} <= set(local):
            raise UsageError("aligner global_local", "found no regions or words", expected="the model's local features")
        regions, words = local["image"], local["text"]
        matches = [
            self._match(word[real], regions.vectors[both], regions.mask[both])
            for word, real in zip(words.vectors[both], words.mask[both], strict=True)
        ]
        return symmetric_infonce(self.match_sharpness * torch.stack(matches, dim=1))

    def _match(self, words: Tensor, regions: Tensor, mask: Tensor) -> Tensor:
        """Return how well one report's words, shape (w, E), fit each image's regions, shape (B, n, E): shape (B,)."""
        # Softmax over the words first: a region belongs to few of them, before a word picks its regions.
        belongs = (regions @ words.T).softmax(dim=2)
        attention = (self.region_sharpness * belongs).masked_fill(~mask[..., None], float("-inf")).softmax(dim=1)
        found = attention.transpose(1, 2) @ regions
        fits = F.cosine_similarity(found, words[None], dim=2)
        return (self.word_sharpness * fits).logsumexp(dim=1)
