"""Draw the pictures of README and docs: the flow of data, and, from a demo's folder, a picture of each page it wrote.

Run it by ``make pictures`` after ``make demo``. The pages are taken by the system's chromium through playwright (extra
dev); the demo's patients are pseudonyms of LIDC-IDRI's public cases, drawn from contours.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from medfuse.errors import UsageError
from medfuse.whole_files import write_whole

CHROMIUM = Path("/usr/bin/chromium")
WIDTH, HEIGHT = 980, 430
INK, SOFT, LINE = "#1b2733", "#52606d", "#8a949e"
FILLS = {"data": "#eef2f5", "model": "#dff0ea", "result": "#fdf1e3"}
PICTURES = {
    "evaluation_report": ("evaluation/report.html", (1180, 900)),
    "explanation_page": ("explanations/*/explanation.nii.gz", (1060, 1250)),
    "scoring_summary": ("scores/summary.html", (1060, 760)),
}
"""By name: the page below the demo's folder, the first of several, or a file beside its report.html (of a case whose
map is shown), and the size of the window."""
SHOWN_WIDTH, COLOURS = 760, 64


@dataclass(frozen=True)
class Box:
    """A noun of the line.

    Parameters
    ----------
    title : str
    lines : tuple of str
        What it holds.
    x, y : int
        Its left upper corner.
    kind : {"data", "model", "result"}
    width : int
    """

    title: str
    lines: tuple[str, ...]
    x: int
    y: int
    kind: str = "data"
    width: int = 150

    @property
    def height(self) -> int:
        """Room for its lines."""
        return 34 + 16 * len(self.lines)

    @property
    def right(self) -> tuple[int, int]:
        """Where an arrow leaves it."""
        return self.x + self.width, self.y + self.height // 2

    @property
    def left(self) -> tuple[int, int]:
        """Where an arrow meets it."""
        return self.x, self.y + self.height // 2


def main(argv: Sequence[str] | None = None) -> int:
    """Draw them.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--demo``, a folder that ``make demo`` wrote, without which no page is pictured; ``--out``.

    Returns
    -------
    int
        0; 2 if a page or chromium is missing.
    """
    parser = argparse.ArgumentParser(prog="documentation_pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "data_flow.svg", data_flow().encode())
    try:
        for name, picture in page_pictures(options.demo) if options.demo else ():
            write_whole(options.out / f"{name}.png", picture)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def data_flow() -> str:
    """Return the flow of data from archive to page, as an SVG of its own."""
    archive = Box("Archive", ("DICOM, NIfTI", "reports", "positions"), 16, 40)
    manifest = Box("Manifest", ("labels, folds", "table, dates"), 16, 168)
    study = Box("Study", ("volumes (RAS mm)", "report, lesions"), 216, 96)
    sample = Box("Sample", ("one box, resampled", "word ids, table"), 416, 96)
    model = Box("Model", ("encode, align, fuse", "image | report | both"), 616, 96, "model")
    answer = Box("Prediction", ("calibrated probability", "interval, set, flags"), 814, 96, "model")
    boxes = [archive, manifest, study, sample, model, answer]
    bundle = Box(
        "Saved model",
        ("weights (safetensors)", "preparation, threshold", "evidence, checksums"),
        601,
        204,
        "model",
        180,
    )
    results = [
        Box("Scores", ("a row a case", "scored or refused"), 416, 346, "result"),
        Box("Explanation", ("a page a case", "map, marks, checks"), 616, 346, "result"),
        Box("Evaluation", ("figures, intervals", "against baselines"), 814, 346, "result"),
    ]
    parts = [
        arrow(archive.right, study.left, "index, read"),
        arrow(manifest.right, study.left, ""),
        arrow(study.right, sample.left, "prepare"),
        arrow(sample.right, model.left, "batch"),
        arrow(model.right, answer.left, "predict"),
        path(f"M{model.x + 75} {model.y + model.height} V{bundle.y - 4}", "save, load"),
        path(f"M{answer.x + 75} {answer.y + answer.height} V{results[2].y - 4}", "evaluate"),
        path(f"M{answer.x + 40} {answer.y + answer.height} V326 H{results[1].x + 75} V{results[1].y - 4}", ""),
        path(f"M{answer.x + 40} {answer.y + answer.height} V326 H{results[0].x + 75} V{results[0].y - 4}", ""),
        label(results[1].x + 84, 320, "explain"),
        label(results[0].x + 84, 320, "score"),
        *map(draw, [*boxes, bundle, *results]),
        *patients(16, 280),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>How data flow through medfuse</title>\n'
        "<desc>Archive and manifest become studies, studies samples, samples answers of a model, and answers scores, "
        "explanations and an evaluation.</desc>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def draw(box: Box) -> str:
    """Return a box with its text."""
    rows = "".join(
        f'<text x="{box.x + 10}" y="{box.y + 38 + 16 * row}" font-size="12" fill="{SOFT}">{escape(text)}</text>'
        for row, text in enumerate(box.lines)
    )
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6" fill="{FILLS[box.kind]}" '
        f'stroke="{LINE}"/><text x="{box.x + 10}" y="{box.y + 20}" font-size="14" font-weight="600" '
        f'fill="{INK}">{escape(box.title)}</text>{rows}'
    )


def arrow(start: tuple[int, int], end: tuple[int, int], text: str) -> str:
    """Return an arrow between two boxes, its text above its middle."""
    (x, y), (to_x, to_y) = start, end
    middle = (x + to_x) // 2
    return path(f"M{x} {y} H{middle} V{to_y} H{to_x - 3}", "") + (
        label(middle - 22, min(y, to_y) - 6, text) if text else ""
    )


def path(course: str, text: str) -> str:
    """Return a line with a tip; text stands right of a line that falls."""
    drawn = f'<path d="{course}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'
    if not text:
        return drawn
    x, y = (int(number) for number in course[1:].split(" V")[0].split())
    return drawn + label(x + 8, y + 22, text)


def label(x: int, y: int, text: str) -> str:
    """Return the name of an arrow."""
    return f'<text x="{x}" y="{y}" font-size="12" font-style="italic" fill="{INK}">{escape(text)}</text>'


def patients(x: int, y: int) -> Iterator[str]:
    """Say what each part of the patients decides."""
    yield label(x, y, "Patients are parted before anything is learnt:")
    said = {"training": "the weights", "validation": "epoch, calibration, threshold", "test": "the figures, once"}
    for row, (part, what) in enumerate(said.items(), start=1):
        yield (
            f'<text x="{x}" y="{y + 22 * row}" font-size="12" fill="{INK}"><tspan font-weight="600">{part}</tspan>'
            f' <tspan fill="{SOFT}">{what}</tspan></text>'
        )


def page_pictures(demo: Path) -> Iterator[tuple[str, bytes]]:
    """Give each page of the demo as a small PNG.

    Raises
    ------
    UsageError
        If a page, chromium or playwright is missing.
    """
    if not CHROMIUM.exists():
        raise UsageError("pictures", "found no chromium", expected="the system's, as a package of Debian")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for name, (pattern, (width, height)) in PICTURES.items():
            page = next(iter(sorted(demo.glob(pattern))), None)
            if page is None:
                raise UsageError("--demo", f"found no {pattern}", expected="a folder that make demo wrote")
            page = page if page.suffix == ".html" else page.with_name("report.html")
            tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            tab.goto(page.resolve().as_uri())
            yield name, smaller(tab.screenshot())
        browser.close()


def smaller(png: bytes) -> bytes:
    """Return a picture of `SHOWN_WIDTH` pixels and few colours."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    height = round(image.height * SHOWN_WIDTH / image.width)
    shown = image.resize((SHOWN_WIDTH, height), Image.Resampling.LANCZOS).quantize(COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    shown.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
