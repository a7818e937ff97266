"""Measure medfuse.text on annotated reports, beside negspacy and a TF-IDF with logistic regression.

The corpora are not part of medfuse: `CORPORA` is a folder with `negex/negex.tsv`, `negex/context3.tsv`,
`openi/openi_reports.jsonl` and `chest_ct/chest_ct_structured.jsonl`; `--ctrate` is a table of CT-RATE's reports.
negspacy runs in an environment of its own (`--peer-python`), over the same vocabulary and on the same reports.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medfuse.text import annotate, annotate_many, assert_status, concept_wordings, label_names, load_lexicon
from medfuse.text.words import read_data
from medfuse.types import Finding, RadiologyReport

COMMAND = "python -m pipelines.benchmark_text CORPORA --ctrate CSV --peer-python PYTHON"
CHEST13 = tuple(name for name in label_names("chest14") if name != "Hernia")
SIZED = ("size", "diameter", "dilation", "measurement", "volume", "thickness")
GOLD_SIZE = re.compile(
    r"(\d+(?:\.\d+)?)\s*(?:(?:x|by)\s*(\d+(?:\.\d+)?)\s*)?(?:(?:x|by)\s*(\d+(?:\.\d+)?)\s*)?(mm|cm|millimeter|centimeter)",
    re.IGNORECASE,
)
CLASSES = {
    "absent, but the label says present": "The report denies it: the label is the image's, or the reach is wrong.",
    "doubted, but the label says present": "Named with 'may', 'cannot exclude', '?'; the label took it as present.",
    "historical or another section": "Named as past, as a relative's, or in the indication alone.",
    "in another region": "Named, but in a region that the label does not count (a nodule of the thyroid).",
    "not named by any wording": "No wording of the lexicon: the label comes from the image, or a word is missing.",
    "stated, but the label says absent": "Stated without doubt. The coder used another word, or it is no longer there.",
    "likely, but the label says absent": "Named with 'consistent with', 'probably'; the label did not take it.",
    "one of two, but the label says absent": "Named with 'versus'; the label took the other one.",
    "no cue of the data files in the sentence": "What would tell is outside the sentence, or in no list.",
    "a cue that does not reach the concept": "A phrase that ends its reach stands between, rightly or not.",
    "a cue that reaches too far": "What should end its reach is in no list, or the annotator read it otherwise.",
    "size that the annotator did not list": "A true size in the text that the human annotation leaves out.",
    "size that was not read or not linked": "Written in an unknown way, or there is no finding that it could have.",
    "linked to a finding of another name": "The size is right, the name differs ('node' for lymphadenopathy).",
}
Row = dict[str, object]
Errors = Counter[tuple[str, str]]
Labelled = Sequence[tuple[str, Mapping[str, bool]]]


@dataclass
class Score:
    """True positives, false positives and false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def add(self, got: bool, wanted: bool) -> None:
        """Count one answer."""
        self.tp += got and wanted
        self.fp += got and not wanted
        self.fn += wanted and not got

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)


@dataclass
class Material:
    """What is measured on; a corpus that is not there is empty."""

    negation: list[tuple[str, tuple[int, int], bool]] = field(default_factory=list)
    history: list[tuple[str, tuple[int, int], bool]] = field(default_factory=list)
    openi: list[tuple[str, dict[str, bool]]] = field(default_factory=list)
    ctrate: list[tuple[str, dict[str, bool]]] = field(default_factory=list)
    chest_ct: list[dict[str, Any]] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        ``CORPORA``, ``--ctrate CSV``, ``--peer-python PYTHON`` (one that imports negspacy), ``--out FILE`` and
        ``--errors FILE`` (a page that counts every error by its class).

    Returns
    -------
    int
        0.
    """
    parser = argparse.ArgumentParser(prog="benchmark_text", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--ctrate", type=Path)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--out", type=Path, default=Path("reports/performance/text.json"))
    parser.add_argument("--errors", type=Path)
    options = parser.parse_args(argv)
    material = read_material(options.corpora, options.ctrate)
    errors: Errors = Counter()
    peer = ask_peer(options.peer_python, material)
    rows = [
        *measure_speed(material, peer),
        *measure_spans(material, errors, peer),
        *measure_labels(material, errors, peer),
        *measure_sizes(material.chest_ct, errors),
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for found in rows:
        theirs = "-" if found["theirs"] is None else found["theirs"]
        print(f"{found['name']:<70} {found['ours']:>9} {theirs:>9} {found['unit']}")
    if options.errors:
        options.errors.write_text(error_page(errors), encoding="utf-8")
    return 0


def read_material(corpora: Path, ctrate: Path | None) -> Material:
    """Read the corpora that are there."""
    material = Material()
    negex = corpora / "negex"
    material.negation = list(read_spans(negex / "negex.tsv", "negation", "Negated"))
    material.history = list(read_spans(negex / "context3.tsv", "temporality", "Historical"))
    if (path := corpora / "openi" / "openi_reports.jsonl").exists():
        for report in read_lines(path):
            text = (report["findings"].strip() + " " + report["impression"].strip()).strip()
            material.openi.append((text, {name: bool(report["labels14"][name]) for name in CHEST13}))
    if (path := corpora / "chest_ct" / "chest_ct_structured.jsonl").exists():
        material.chest_ct = list(read_lines(path))
    if ctrate:
        with ctrate.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                labels = {name: float(row[name] or 0) > 0 for name in label_names("ctrate18")}
                material.ctrate.append((row["report_text"], labels))
    return material


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def read_spans(path: Path, column: str, positive: str) -> Iterator[tuple[str, tuple[int, int], bool]]:
    """Yield sentences with the span of their concept (in capitals where it can be told) and the answer."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            words = r"\s+".join(re.escape(word) for word in row["concept"].split())
            sentence = row["sentence"]
            if found := re.search(words.upper(), sentence) or re.search(words, sentence, re.IGNORECASE):
                yield sentence, found.span(), row[column] == positive


def ask_peer(python: Path | None, material: Material) -> dict[str, Any]:
    """Return what negspacy says, by the vocabulary of medfuse's own labels; empty where it cannot be asked."""
    if python is None:
        print("negspacy is left out: --peer-python names no environment that has it", file=sys.stderr)
        return {}
    scheme = read_data("labels.yaml")["chest14"]["labels"]
    phrases = {name: [w for c in scheme[name]["concepts"] for w in concept_wordings(c)] for name in CHEST13}
    asked = {
        "sentences": [(text, *span) for text, span, _ in material.negation],
        "reports": [text for text, _ in material.openi],
        "phrases": phrases,
        "all_phrases": {concept: list(words) for concept, words in load_lexicon().wordings.items()},
    }
    script = Path(__file__).with_name("peer_negspacy.py")
    done = subprocess.run(  # noqa: S603 - the interpreter that the user named
        [python, script], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: {python}: negspacy does not run; {done.stderr.strip().splitlines()[-1:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure_spans(material: Material, errors: Errors, peer: Mapping[str, Any]) -> Iterator[Row]:
    """Measure negation and history on sentences with a concept."""
    for name, rows, attribute in (
        ("NegEx sentences, negated F1", material.negation, "negated"),
        ("NegEx sentences, historical F1", material.history, "historical"),
    ):
        if not rows:
            continue
        ours = Score()
        for text, span, wanted in rows:
            got = bool(getattr(assert_status(text, [span])[0], attribute))
            ours.add(got, wanted)
            if got != wanted:
                errors[name, span_error(text, attribute, got=got)] += 1
        theirs = Score()
        if attribute == "negated" and peer:
            for (_, _, wanted), got in zip(rows, peer["negated"], strict=True):
                theirs.add(got, wanted)
        yield row(name, ours.f1, theirs.f1 if attribute == "negated" and peer else None, against="negspacy")


def span_error(text: str, attribute: str, *, got: bool) -> str:
    """Return the class of a wrong status."""
    if got:
        return "a cue that reaches too far"
    kind = {"negated": "absent", "historical": "historical"}[attribute]
    content = read_data("triggers.yaml")
    cues = [cue for key in (f"{kind}_before", f"{kind}_after") for cue in content[key]]
    lowered = " ".join(text.lower().split())
    named = any(re.search(rf"(?<!\w){re.escape(cue)}(?!\w)", lowered) for cue in cues)
    return "a cue that does not reach the concept" if named else "no cue of the data files in the sentence"


def measure_labels(material: Material, errors: Errors, peer: Mapping[str, Any]) -> Iterator[Row]:
    """Measure the labels of reports, beside negspacy and a TF-IDF with logistic regression."""
    for name, scheme, rows in (
        ("OpenI 13 findings", "chest14", material.openi),
        ("CT-RATE 18 labels", "ctrate18", material.ctrate),
    ):
        if not rows:
            continue
        reports = list(annotate_many(text for text, _ in rows))
        labels = list(rows[0][1])
        ours = score_labels(rows, [{k for k, v in report.labels(scheme).items() if v == 1} for report in reports])
        for (_, wanted), report in zip(rows, reports, strict=True):
            count_label_errors(errors, name, scheme, wanted, report)
        theirs: tuple[float, float] | tuple[None, None] = (None, None)
        against = "negspacy"
        if scheme == "chest14" and peer:
            theirs = score_labels(rows, [set(found) for found in peer["labels"]])
        elif scheme == "ctrate18":
            against = "TF-IDF + logistic regression, 5-fold"
            theirs = score_labels(rows, learn_labels(rows, labels))
        for kind, own, other in zip(("micro F1", "macro F1"), ours, theirs, strict=True):
            yield row(f"{name}, {kind}", own, other, against=against)


def score_labels(rows: Labelled, found: Sequence[set[str]]) -> tuple[float, float]:
    """Return micro and macro F1."""
    scores = {label: Score() for label in rows[0][1]}
    for (_, wanted), got in zip(rows, found, strict=True):
        for label, score in scores.items():
            score.add(label in got, wanted[label])
    total = Score(*(sum(getattr(score, part) for score in scores.values()) for part in ("tp", "fp", "fn")))
    return total.f1, sum(score.f1 for score in scores.values()) / len(scores)


def learn_labels(rows: Labelled, labels: Sequence[str]) -> list[set[str]]:
    """Predict each report's labels by a TF-IDF with logistic regression that saw the other four fifths."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    texts = np.array([text for text, _ in rows], dtype=object)
    wanted = np.array([[labelled[label] for label in labels] for _, labelled in rows])
    found: list[set[str]] = [set() for _ in rows]
    for train, test in KFold(5, shuffle=True, random_state=0).split(texts):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        known, unknown = vectorizer.fit_transform(texts[train]), vectorizer.transform(texts[test])
        for number, label in enumerate(labels):
            # Of C in 1, 10, 100, with and without balanced weights, the best on these very folds.
            model = LogisticRegression(C=10, class_weight="balanced", max_iter=300).fit(known, wanted[train, number])
            for place in test[model.predict(unknown)]:
                found[place].add(label)
    return found


def count_label_errors(
    errors: Errors, name: str, scheme: str, wanted: Mapping[str, bool], report: RadiologyReport
) -> None:
    """Count the class of every wrong label of one report."""
    rules = read_data("labels.yaml")[scheme]["labels"]
    labels = report.labels(scheme)
    for label, is_there in wanted.items():
        got = labels.get(label, 0) == 1
        if got != is_there:
            named = [f for f in report.findings if f.concept in rules[label]["concepts"]]
            errors[name, label_error(named, labels.get(label), got=got)] += 1


def label_error(named: Sequence[Finding], value: int | None, *, got: bool) -> str:
    """Return the class of one wrong label."""
    if got:
        certainty = max(f.certainty for f in named)
        kind = "stated" if certainty == 1 else "likely" if certainty > 0.6 else "one of two"
        return f"{kind}, but the label says absent"
    if not named:
        return "not named by any wording"
    if value is None:
        past = all(f.status == "historical" or f.experiencer != "patient" or f.section == "indication" for f in named)
        return "historical or another section" if past else "in another region"
    return "absent, but the label says present" if value == 0 else "doubted, but the label says present"


def measure_sizes(reports: Sequence[Mapping[str, Any]], errors: Errors) -> Iterator[Row]:
    """Measure sizes, and whether each is linked to its finding; the baseline takes every size in the text."""
    if not reports:
        return
    sizes, plain, linked, n_linked = Score(), Score(), 0, 0
    for report in reports:
        stated = [
            (finding["finding"].lower(), size)
            for finding in report["findings"]
            for key, value in finding["attributes"].items()
            if key in SIZED
            for size in gold_sizes(str(value))
        ]
        found = [
            (
                tuple(sorted(round(axis, 1) for axis in f.size_mm)),
                f"{f.concept} {report['text'][f.start : f.end]}".lower(),
            )
            for f in annotate(report["text"]).findings
            if f.size_mm
        ]
        wanted, got = {size for _, size in stated}, {size for size, _ in found}
        every = gold_sizes(report["text"])
        for score, answer in ((sizes, got), (plain, every)):
            score.tp, score.fp = score.tp + len(wanted & answer), score.fp + len(answer - wanted)
            score.fn += len(wanted - answer)
        errors["CT sizes", "size that the annotator did not list"] += len(got - wanted)
        errors["CT sizes", "size that was not read or not linked"] += len(wanted - got)
        for name, size in stated:
            if size in got:
                head = name.split()[-1].rstrip("s")
                right = any(size == other and head in words for other, words in found)
                linked, n_linked = linked + right, n_linked + 1
                errors["CT sizes", "linked to a finding of another name"] += not right
    yield row("CT sizes, F1", sizes.f1, plain.f1, against="a pattern that takes every size")
    yield row("CT sizes linked to their finding, share", linked / max(1, n_linked), None, against="none")


def gold_sizes(text: str) -> set[tuple[float, ...]]:
    """Return the sizes in a text, in mm, each in ascending order."""
    found = set()
    for match in GOLD_SIZE.finditer(text):
        factor = 10 if match[4].lower().startswith("c") else 1
        found.add(tuple(sorted(round(float(axis) * factor, 1) for axis in match.groups()[:3] if axis)))
    return found


def measure_speed(material: Material, peer: Mapping[str, Any]) -> list[Row]:
    """Measure the first full annotation of the reports in this process, before anything is remembered."""
    texts = [text for text, _ in material.openi]
    if not texts:
        return []
    annotate("A nodule.")
    started = time.perf_counter()
    for report in annotate_many(texts):
        report.labels("chest14")
    ours = len(texts) / (time.perf_counter() - started)
    name = "OpenI reports a second, one process"
    return [
        row(name, ours, peer.get("reports_per_s"), against="negspacy, phrases of 13 labels alone", unit="1/s"),
        row(name, ours, peer.get("full_reports_per_s"), against="negspacy, the whole lexicon", unit="1/s"),
    ]


def row(name: str, ours: float, theirs: float | None, *, against: str = "negspacy", unit: str = "F1") -> Row:
    """Return one row of the results."""
    digits = 0 if unit == "1/s" else 4
    found: Row = {"name": f"{name} (against {against})", "ours": round(ours, digits)}
    found |= {"theirs": None if theirs is None else round(theirs, digits)}
    return found | {"ratio": None if not theirs else round(ours / theirs, 3), "unit": unit, "command": COMMAND}


def error_page(errors: Errors) -> str:
    """Return the page that counts every error by its class."""
    lines = [
        "# What the text stage still gets wrong",
        "",
        "Every error on the corpora of the benchmark, counted by class; no text of a report is in it.",
        f"`{COMMAND} --errors FILE` writes this page.",
        "",
    ]
    for measure in dict.fromkeys(name for name, _ in errors):
        counts = {kind: count for (name, kind), count in errors.most_common() if name == measure and count}
        lines += [f"## {measure}: {sum(counts.values())}", "", "| class | errors | what it is |", "|---|---:|---|"]
        lines += [f"| {kind} | {count} | {CLASSES[kind]} |" for kind, count in counts.items()]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
