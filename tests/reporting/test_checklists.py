import numpy as np
import pandas as pd

from medfuse.config import load_config
from medfuse.evaluation import evaluate
from medfuse.reporting.background import Background
from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.checklists import CHECKLISTS, MODEL_CARD, card_rows, checklist_items
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.topics import topics_of

WORDS = Sentences(open_catalogue("en"))
CONFIG = load_config({"targets": [{"name": "nodule", "classes": ["no", "yes"]}], "seed": 7, "model": {"members": 3}})


def evaluation():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    return evaluate(pd.DataFrame({"case_id": np.arange(60), "label": labels, "probability": rng.random(60)}))


def full():
    part = {"cases": 20, "studies": 20, "patients": 18}
    none = {"patients": 0, "images": 0, "texts": 0}
    facts = {
        "manifest": {"cases": 66, "studies": 66, "patients": 54},
        "refused": [{"reason": "found no box", "cases": 4, "studies": 2}],
        "unlabelled": 1,
        "parts": {"train": part, "validation": part, "test": part},
        "shared": {"train test": none},
        "years": ["2001", "2005"],
    }
    return Background(
        "t",
        {"versions": "numpy 2.4", "command": "medfuse train"},
        config=CONFIG,
        record={"best_epoch": 3, "epochs": 9, "cases": {"train": 40, "validation": 5, "test": 60}},
        cohort=pd.DataFrame({"has_image": [True, False], "has_text": [True, True]}),
        cohort_facts=facts,
        n_weights=12345,
    )


def test_each_topic_of_a_list_can_be_answered_by_someone():
    """A mistyped topic would be "not available" for ever."""
    known = {*topics_of(evaluation(), full(), WORDS), "not_for", "external", "clusters", "reference", "robustness",
             "failures", "readers", "power", "fairness"}  # fmt: skip
    wanted = {topic for items in (*CHECKLISTS.values(), MODEL_CARD) for topics in items.values() for topic in topics}
    assert wanted <= known


def test_the_lists_are_whole():
    assert list(CHECKLISTS["claim"]) == [str(number) for number in range(1, 45)]
    assert len(CHECKLISTS["tripod"]) == 52
    for name in CHECKLISTS:
        items = checklist_items(name, topics_of(evaluation(), full(), WORDS), WORDS.say)
        assert all(item.name for item in items)


def test_answers_come_from_the_run():
    topics = topics_of(evaluation(), full(), WORDS)
    answers = {item.number: item.answer for item in checklist_items("claim", topics, WORDS.say)}
    assert "66 cases of 54 patients" in answers["7"]
    assert "6 refusals" in answers["8"]
    assert "seed 7" in answers["25"]
    assert "Epoch 4 of 9" in answers["26"]
    assert "3 models" in answers["27"]
    assert "12,345 weights" in answers["22"]
    assert answers["44"] == answers["34"] == answers["5"] == ""
    card = {row.name: row.answer for row in card_rows(topics, WORDS.say)}
    assert "Trained on 40 cases" in card["Trained on"]
    assert "Diagnosis or treatment" in card["Not for"]


def test_a_bare_table_of_predictions_answers_little():
    topics = topics_of(evaluation(), Background("t"), WORDS)
    answers = {item.number: item.answer for item in checklist_items("claim", topics, WORDS.say)}
    assert {number for number, answer in answers.items() if answer} <= {
        "2", "4", "28", "29", "30", "35", "37", "38", "40",
    }  # fmt: skip
