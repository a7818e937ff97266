import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from medfuse.cohorts import lidc_sentences, lidc_wording
from medfuse.cohorts.lidc_annotations import SCORES, Contour, Nodule, ReaderAnnotation, Scan
from medfuse.cohorts.lidc_text import write_lesion_report, write_study_report
from medfuse.cohorts.lidc_wording import CLAUSES
from medfuse.errors import UsageError

SECTIONS = ["EXAM", "INDICATION", "TECHNIQUE", "COMPARISON", "FINDINGS", "IMPRESSION"]
LEVELS = {name: range(1, 6) for name in SCORES[:-1]} | {
    "internalStructure": range(1, 5),
    "calcification": range(1, 7),
}
# Judgement, advice and change over time say what the label says; size words say what the diameter says.
JUDGEMENT = re.compile(
    r"malignan|benign|cancer|carcinom|neoplas|tumou?r|metasta|lymphoma|sarcoma|granulom|hamartom|suspici|suspect"
    r"|concern|worri|indetermin|aggressiv|likel|probabl|possibl|favor|consistent with|compatible|typical|differential"
    r"|infect|inflamm|follow|recommend|advis|biops|resect|surveil|screen|\bpet\b|lung-rads|fleischner|rads\b"
    r"|stable|unchanged|interval|grow|increas|decreas|\bnew\b",
    re.IGNORECASE,
)
SIZE = re.compile(
    r"\bmm\b|\bcm\b|millim|centim|diameter|measur|\blarge|\btiny|\bmass|micro|\bbig|\bsize\b", re.IGNORECASE
)


def strings_of(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [s for v in value.values() for s in strings_of(v)]
    return [s for v in value for s in strings_of(v)]


def all_strings():
    """Every string of both wording files, whatever tables they come to have."""
    return [
        (name, text)
        for module in (lidc_wording, lidc_sentences)
        for name in module.__all__
        for text in strings_of(getattr(module, name))
    ]


def make_nodule(scores, *, index=1, study="1.2.3", others=(2, 4)):
    scan = Scan(1, "patient", study, "1.2.3.4", 0.5, 2.0, np.arange(4.0))
    square = np.array([[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]], dtype=np.int32)
    reporting = ReaderAnnotation(1, scores, (Contour(1.0, True, square),))
    readers = tuple(
        ReaderAnnotation(i, dict.fromkeys(SCORES, 1) | {"malignancy": m}, ()) for i, m in enumerate(others, 2)
    )
    return Nodule(scan, index, reporting, readers)


all_scores = st.fixed_dictionaries(
    {name: st.sampled_from(list(levels)) for name, levels in LEVELS.items()} | {"malignancy": st.integers(1, 5)}
)


def clause_pattern(clause):
    nouns = "|".join(map(re.escape, (*lidc_sentences.NOUNS, "it")))
    return rf"(?<![\w-]){re.escape(clause).replace(re.escape('{it}'), f'(?:{nouns})')}(?![\w-])"


CLAUSE_PATTERNS = {
    score: [(level, i, re.compile(clause_pattern(c))) for level, cs in levels.items() for i, c in enumerate(cs)]
    for score, levels in CLAUSES.items()
}


def findings(text):
    return re.search(r"^FINDINGS: (.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE).group(1).lower()


def stated(text):
    """Return {score: (level, wording)} read back from the words alone."""
    body = findings(text)
    found = {
        score: [(level, i) for level, i, pattern in patterns if pattern.search(body)]
        for score, patterns in CLAUSE_PATTERNS.items()
    }
    found = {score: hits for score, hits in found.items() if hits}
    assert all(len(hits) == 1 for hits in found.values()), "a score is stated twice"
    return {score: hits[0] for score, hits in found.items()}


def dependence_p(choices, labels):
    """p-value of wording against label within each level of each score, all tables together."""
    statistic, freedom = 0.0, 0
    strata = defaultdict(list)
    for choice, label in zip(choices, labels, strict=True):
        for score, (level, wording) in choice.items():
            strata[score, level].append((wording, label))
    for pairs in strata.values():
        wordings, labels_here = (sorted(set(column)) for column in zip(*pairs, strict=True))
        if len(pairs) < 40 or len(wordings) < 2 or len(labels_here) < 2:
            continue
        counts = Counter(pairs)
        table = np.array([[counts[w, y] for y in labels_here] for w in wordings])
        result = chi2_contingency(table)
        statistic, freedom = statistic + result.statistic, freedom + result.dof
    return chi2.sf(statistic, freedom), freedom


@pytest.fixture(scope="module")
def labelled(lidc_nodules):
    return [n for n in lidc_nodules if n.label]


@pytest.fixture(scope="module")
def choices(labelled):
    return [stated(write_lesion_report(n)) for n in labelled]


def test_every_level_of_every_score_has_at_least_four_wordings():
    assert {score: list(levels) for score, levels in CLAUSES.items()} == {
        score: list(levels) for score, levels in LEVELS.items()
    }
    for levels in CLAUSES.values():
        for wordings in levels.values():
            assert len(set(wordings)) == len(wordings) >= 4


def test_no_wording_holds_another():
    """So that a test, and a reader, can tell from the text which level is meant."""
    clauses = [c.replace("{it}", "it") for levels in CLAUSES.values() for cs in levels.values() for c in cs]
    assert len(clauses) == len(set(clauses))
    patterns = [pattern for patterns in CLAUSE_PATTERNS.values() for _, _, pattern in patterns]
    assert [p.pattern for p in patterns if sum(bool(p.search(c)) for c in clauses) != 1] == []


def test_no_string_judges_a_nodule():
    strings = all_strings()
    assert len(strings) > 250
    assert [text for _, text in strings if JUDGEMENT.search(text)] == []


def test_no_string_but_the_size_clauses_tells_a_size():
    sized = {text for table, text in all_strings() if table != "SIZE_CLAUSES" and SIZE.search(text)}
    assert sized == {"The heart is normal in size, without pericardial effusion."}
    assert all(SIZE.search(text) for text in lidc_wording.SIZE_CLAUSES)


@pytest.mark.parametrize("word", ["benign", "suspicious", "malignancy", "metastases", "indeterminate", "follow-up"])
def test_forbidden_list_catches_the_words_it_is_for(word):
    assert JUDGEMENT.search(f"a {word} nodule")


@given(all_scores, st.integers(0, 5), st.booleans())
def test_report_has_its_sections_once_and_states_each_score(scores, seed, text_size):
    text = write_lesion_report(make_nodule(scores), seed=seed, text_size=text_size)
    assert re.findall(r"^([A-Z]+):", text, re.MULTILINE) == SECTIONS
    assert {score: level for score, (level, _) in stated(text).items()} == {
        score: level for score, level in scores.items() if score != "malignancy"
    }
    assert "{" not in text
    assert "  " not in text
    assert not JUDGEMENT.search(text)


@given(all_scores, st.permutations([1, 3, 5]), st.integers(1, 5))
def test_text_is_the_same_whatever_the_others_and_malignancy_say(scores, others, malignancy):
    nodule = make_nodule(scores, others=(1, 1))
    changed = make_nodule({**scores, "malignancy": malignancy}, others=tuple(others))
    assert write_lesion_report(nodule) == write_lesion_report(changed)
    assert write_study_report([nodule]) == write_study_report([changed])


def test_text_of_the_cohort_is_the_same_with_every_label_turned(labelled):
    for nodule in labelled[::10]:
        others = tuple(replace(o, scores={name: 6 - level for name, level in o.scores.items()}) for o in nodule.others)
        turned = replace(nodule, others=others)
        assert turned.label != nodule.label
        assert write_lesion_report(turned) == write_lesion_report(nodule)


def test_malignancy_score_is_never_read():
    scores = dict.fromkeys(SCORES[:-1], 1)
    assert write_lesion_report(make_nodule(scores)).startswith("EXAM: ")


def test_wording_is_independent_of_the_label_given_the_scores(labelled, choices):
    p, freedom = dependence_p(choices, [n.label for n in labelled])
    assert freedom > 60
    assert p > 0.01


def test_independence_test_finds_a_wording_that_leans_on_the_label(labelled, choices):
    rng = np.random.default_rng(0)
    leaning = [
        {
            score: (level, 0 if n.label == "positive" and rng.random() < 0.2 else wording)
            for score, (level, wording) in choice.items()
        }
        for n, choice in zip(labelled, choices, strict=True)
    ]
    assert dependence_p(leaning, [n.label for n in labelled])[0] < 1e-6


def test_headers_and_unrelated_findings_are_independent_of_the_label(labelled):
    counts = defaultdict(Counter)
    for nodule in labelled:
        text = write_lesion_report(nodule)
        for slot, table in (("INDICATION", "INDICATIONS"), ("COMPARISON", "COMPARISONS")):
            line = re.search(rf"^{slot}: (.*)$", text, re.MULTILINE).group(1)
            assert line in getattr(lidc_sentences, table)
            counts[slot][line, nodule.label] += 1
        for organ, sentences in lidc_sentences.BACKGROUND.items():
            said = [s for s in sentences if s.lower() in findings(text)]
            assert len(said) <= 1
            counts[organ][said[0] if said else "", nodule.label] += 1
    tables = {
        slot: [[count[line, y] for y in ("positive", "negative")] for line in sorted({k for k, _ in count})]
        for slot, count in counts.items()
    }
    assert all(chi2_contingency(np.array(table)).pvalue > 0.05 / len(tables) for table in tables.values())


def test_all_wordings_of_a_common_level_are_used_alike(choices):
    used = Counter(choice["calcification"][1] for choice in choices if choice["calcification"][0] == 6)
    assert len(used) == len(CLAUSES["calcification"][6])
    assert max(used.values()) < 1.5 * min(used.values())


def test_reports_of_the_whole_cohort_all_differ(lidc_nodules):
    texts = [write_lesion_report(n) for n in lidc_nodules]
    assert len(set(texts)) == len(texts)
    assert not any(JUDGEMENT.search(text) for text in texts)


def test_another_seed_gives_other_words_for_the_same_scores():
    nodule = make_nodule(dict.fromkeys(SCORES, 3) | {"malignancy": 1})
    first, second = (write_lesion_report(nodule, seed=s) for s in (0, 1))
    assert first != second
    assert {k: v[0] for k, v in stated(first).items()} == {k: v[0] for k, v in stated(second).items()}


def test_level_outside_the_scheme_stays_unsaid():
    scores = dict.fromkeys(SCORES, 1) | {"internalStructure": 5}
    assert set(stated(write_lesion_report(make_nodule(scores)))) == set(CLAUSES) - {"internalStructure"}


@given(all_scores, st.integers(0, 9))
def test_size_is_stated_only_when_asked(scores, seed):
    nodule = make_nodule(scores)
    without = write_lesion_report(nodule, seed=seed)
    with_size = write_lesion_report(nodule, seed=seed, text_size=True)
    assert not re.search(r"\d+ mm", without)
    assert re.findall(r"(\d+) mm", with_size) == ["14"]  # 20 * sqrt(2) pixels of 0.5 mm
    assert stated(with_size) == stated(without)


def test_study_report_shares_its_header_and_numbers_its_lesions():
    scores = dict.fromkeys(SCORES, 2)
    nodules = [make_nodule(scores, index=i) for i in (1, 3)]
    text = write_study_report(nodules)
    assert [text.count(f"{name}:") for name in SECTIONS] == [1, 1, 1, 1, 3, 2]
    assert re.findall(r"^LESION (\d+)$", text, re.MULTILINE) == ["1", "3"]
    parts = re.split(r"^LESION \d+$", text, flags=re.MULTILINE)[1:]
    for nodule, part in zip(nodules, parts, strict=True):
        own = write_lesion_report(nodule)
        assert stated(part.strip()) == stated(own)
        assert own.startswith(text[: text.index("FINDINGS:")])


def test_lesions_of_one_study_never_contradict_each_other_on_unrelated_findings(lidc_nodules):
    background = strings_of(lidc_sentences.BACKGROUND)
    by_study = defaultdict(set)
    for nodule in lidc_nodules:
        text = findings(write_lesion_report(nodule))
        by_study[nodule.scan.scan_id].add(tuple(s for s in background if s.lower() in text))
    assert {len(said) for said in by_study.values()} == {1}


@pytest.mark.parametrize("studies", [[], ["1.2", "1.3"]])
def test_study_report_of_none_or_several_studies_is_refused(studies):
    nodules = [make_nodule(dict.fromkeys(SCORES, 1), study=uid) for uid in studies]
    with pytest.raises(UsageError, match="expected one study"):
        write_study_report(nodules)
