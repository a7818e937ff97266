from collections.abc import Sequence

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.training import fit
from medfuse.training.parts import split_cases


def test_a_training_in_pieces_goes_through(toy_config: RunConfig, toy_cases: Sequence[Case]) -> None:
    parts = split_cases(toy_cases, toy_config.data, seed=0)
    histories = []
    for chunks in (1, 2):
        optim = toy_config.optim.model_copy(update={"chunks": chunks, "epochs": 2})
        config = toy_config.model_copy(update={"optim": optim})
        histories.append(fit(config, train=parts.train, validation=parts.validation).history)
    whole, pieces = ([row["train_alignment"] for row in history] for history in histories)
    assert len(whole) == len(pieces) == 2
    assert whole != pieces  # batch norms and dropout saw the pieces
    assert abs(whole[0] - pieces[0]) < 0.3 * whole[0]  # the contrast saw the whole batch
