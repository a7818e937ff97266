"""Pages under test, read back as a browser reads them; a series and the results that are written beside it."""

import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pydicom
import pytest

from medfuse.io import SeriesIdentity, write_dicom_series
from medfuse.types import CaseId, Prediction, Volume

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}$\\frac{1}{2}$"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def check_safe(page):
    """No script, no event handler, nothing fetched."""
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    ids = {value for _, name, value in page.attributes if name == "id"}
    fetched = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith("data:image/") or (value[0] == "#" and value[1:] in ids) for value in fetched)
    policies = [v for tag, name, v in page.attributes if tag == "meta" and name == "content" and "default-src" in v]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "url(" not in page.source and "@import" not in page.source


@pytest.fixture
def read_page():
    def read(path):
        page = Page(path)
        check_safe(page)
        return page

    return read


@pytest.fixture
def hostile():
    return HOSTILE


# A case's DICOM results

SHAPE = (13, 11, 6)
AXIAL = np.diag([-0.7, -0.7, 2.5, 1.0])

ANSWER = Prediction(
    CaseId("S1", "1"),
    "malignancy",
    ("benign", "malignant"),
    {"image": (0.4, 0.6), "fused": (0.3, 0.7)},
    0.55,
    ("image", "text"),
    "abcdef012345",
    flags=("uncertain",),
    intervals={"fused": ((0.2, 0.45), (0.55, 0.8))},
    interval_kind="Venn-Abers",
    sets={"fused": ("malignant",)},
    set_level=0.9,
)
TEXTURE = Prediction(
    ANSWER.case,
    "texture",
    ("solid", "part-solid", "磨玻璃"),
    {"fused": (0.2, 0.7, 0.1)},
    0.5,
    ("image", "text"),
    ANSWER.model_id,
    sets={"fused": ()},
    set_level=0.9,
)


@pytest.fixture
def answer():
    """What a model says of a binary target, with an interval and a set."""
    return ANSWER


@pytest.fixture
def write_series(tmp_path):
    """Write a series of the study of one patient on an affine."""

    def write(affine=AXIAL, *, patient="SMITH^ANN", date="20240102"):
        voxels = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
        identity = SeriesIdentity("P-77", "2.25.1", "2.25.12", "2.25.199", study_date=date)
        folder = tmp_path / "archive" / "series"
        for path in write_dicom_series(Volume(voxels, affine, "HU"), folder, identity=identity):
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.AccessionNumber, dataset.PatientSex = patient, "A-5", "F"
            dataset.StudyTime = "101112" if date else ""
            dataset.save_as(path)
        return folder

    return write


@pytest.fixture
def page_bytes():
    """A small rendered page, "pdf" or "png"."""
    from matplotlib.figure import Figure

    def make(kind):
        figure, file = Figure(figsize=(0.6, 0.4)), BytesIO()
        figure.text(0.1, 0.4, "page")
        figure.savefig(file, format=kind)
        return file.getvalue()

    return make


@pytest.fixture
def results_on(page_bytes):
    """Results on part of a source's grid: a signed map, and where it is high."""
    from medfuse.reporting.dicom_results import DicomResults

    def make(source, **changes):
        columns, rows, slices = source.shape
        values = np.zeros(source.shape, dtype=np.float32)
        part = (
            slice(columns // 4, columns // 2 + 1),
            slice(rows // 3, rows // 2 + 2),
            slice(slices // 4, slices // 2 + 1),
        )
        values[part] = np.random.default_rng(1).normal(size=values[part].shape)
        whole = Volume(values, source.affine)
        contour = Volume(values >= 0.5 * values.max(), source.affine)
        return replace(
            DicomResults(
                (ANSWER, TEXTURE), whole, contour, method="integrated_gradients, 16 steps", page=page_bytes("pdf")
            ),
            **changes,
        )

    return make


@pytest.fixture
def dicom_errors():
    """Errors that dciodvfy finds in files, by name; none are found where it is not installed."""
    program = shutil.which("dciodvfy")

    def check(paths):
        found = {}
        for path in paths if program else ():
            done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
            if lines := [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]:
                found[path.name] = lines
        return found

    return check
