import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.data import Case, to_samples
from medfuse.explain import modality_shares
from medfuse.explain.shares import shapley_values
from medfuse.inference import Predictor, predict_logits
from medfuse.types import Study

Game = tuple[tuple[str, ...], dict[frozenset[str], float]]


@st.composite
def games(draw: st.DrawFn) -> Game:
    players = tuple("abcd"[: draw(st.integers(1, 4))])
    subsets = chain.from_iterable(combinations(players, size) for size in range(len(players) + 1))
    return players, {frozenset(subset): draw(st.floats(-50, 50)) for subset in subsets}


def by_permutations(players: tuple[str, ...], worth: dict[frozenset[str], float]) -> dict[str, float]:
    """Mean of what a player adds on arrival, over every order of arrival."""
    added = dict.fromkeys(players, 0.0)
    for order in permutations(players):
        for at, player in enumerate(order):
            added[player] += worth[frozenset(order[: at + 1])] - worth[frozenset(order[:at])]
    return {player: value / math.factorial(len(players)) for player, value in added.items()}


@given(games())
def test_shapley_values_equal_the_mean_over_all_orders(game: Game) -> None:
    assert shapley_values(*game) == pytest.approx(by_permutations(*game), abs=1e-9)


@given(games())
def test_shapley_values_sum_to_the_worth_of_all_minus_that_of_none(game: Game) -> None:
    players, worth = game
    total = sum(shapley_values(players, worth).values())
    assert total == pytest.approx(worth[frozenset(players)] - worth[frozenset()], abs=1e-9)


def test_a_player_that_adds_nothing_gets_nothing() -> None:
    worth = {frozenset(s): float("a" in s) for s in ("", "a", "b", "ab")}
    assert shapley_values(("a", "b"), worth) == {"a": 1.0, "b": 0.0}


def test_shares_of_a_model_sum_to_its_logit_minus_the_prior(
    toy_predictor: Predictor, toy_cases: Sequence[Case]
) -> None:
    samples = to_samples(toy_cases, toy_predictor.preprocessing)
    prior = toy_predictor.bundle.prevalence["malignancy"]
    for sample in samples:
        shares = modality_shares(toy_predictor, sample, target="malignancy")
        has = {"image": sample.image is not None, "text": sample.token_ids is not None}
        assert set(shares) == {name for name, here in has.items() if here}
        logits = predict_logits(toy_predictor.bundle, [sample])
        logit = float(logits["fused" if len(shares) == 2 else next(iter(shares))]["malignancy"][0, 0])
        assert sum(shares.values()) == pytest.approx(logit - math.log(prior / (1 - prior)), abs=1e-5)


def test_a_modality_that_speaks_for_the_answer_has_a_share_for_it(
    toy_predictor: Predictor, toy_studies: list[Study]
) -> None:
    for study in toy_studies:
        [lesion] = study.lesions
        assert lesion.text is not None
        sign = 1 if "spiculated" in lesion.text.text else -1
        shares = modality_shares(toy_predictor, toy_predictor.preprocessing(study, lesion), target="malignancy")
        assert all(sign * share > 0 for share in shares.values())


def test_of_one_modality_the_share_is_all(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    study = toy_studies[0]
    sample = replace(toy_predictor.preprocessing(study, study.lesions[0]), image=None)
    logit = float(predict_logits(toy_predictor.bundle, [sample])["text"]["malignancy"][0, 0])
    prior = toy_predictor.bundle.prevalence["malignancy"]
    [share] = modality_shares(toy_predictor, sample, target="malignancy").values()
    assert share == pytest.approx(logit - math.log(prior / (1 - prior)), abs=1e-6)
