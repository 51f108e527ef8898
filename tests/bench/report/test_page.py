"""The report in a real browser. Screenshots are kept in build/screenshots/ for people to look at."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dotresize.bench.report.page import write_report

from ..example_results import example_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "screenshots"
TIMEOUT_SECONDS = 120
# A dark page: the value of Blink's preferred_color_scheme, not --force-dark-mode, which inverts colours.
DARK = "--blink-settings=preferredColorScheme=0"
PHONE, DESKTOP = 360, 1280  # CSS pixels
# Chromium's window cannot be narrower than 500 pixels, so the page is measured in a frame of the true width:
# media queries and layout follow the frame.
FRAME = """<!doctype html><body style="margin:0">
<iframe style="width:WIDTHpx;height:HEIGHTpx;border:0;display:block" srcdoc="PAGE"></iframe>
<pre id="found"></pre>
<script>onload = () => {
  const inner = document.querySelector("iframe").contentDocument, root = inner.documentElement;
  const crossing = [], outside = [];
  for (const panel of inner.querySelectorAll(".panel")) {
    const frame = panel.getBoundingClientRect(), texts = [...panel.querySelectorAll("text")];
    const boxes = texts.map(text => text.getBoundingClientRect());
    boxes.forEach((a, i) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.right > root.clientWidth)
        outside.push(texts[i].textContent);
      boxes.slice(0, i).forEach((b, j) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // boxes include the leading above and below the letters
        if (wide > 1 && high > 0.3 * Math.min(a.height, b.height))
          crossing.push(texts[i].textContent + " / " + texts[j].textContent);
      });
    });
  }
  const sizes = [...inner.querySelectorAll(".panel text")].map(text => text.getBoundingClientRect().height);
  document.querySelector("#found").textContent = JSON.stringify({
    width: root.scrollWidth, height: root.scrollHeight, crossing, outside, smallest: Math.min(...sizes),
    panels: inner.querySelectorAll(".panel").length, sections: inner.querySelectorAll("section").length});
}</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium"),
]
Browse = Callable[..., str]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    write_report(example_results(), directory)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return directory / "report.html"


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """Run Chromium on a file; the DOM comes back. Anything on the console fails the test."""
    profile = tmp_path_factory.mktemp("profile")

    def run(path: Path, *options: str) -> str:
        assert CHROMIUM is not None
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", *options, path.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        assert result.returncode == 0, result.stderr
        assert "CONSOLE" not in result.stderr, result.stderr
        return result.stdout

    return run


def framed(page: Path, width: int, height: int) -> Path:
    path = page.with_name(f"frame-{width}.html")
    text = FRAME.replace("WIDTH", str(width)).replace("HEIGHT", str(height))
    path.write_text(text.replace("PAGE", html.escape(page.read_text())))
    return path


def measure(browse: Browse, page: Path, width: int) -> dict[str, Any]:
    dom = browse(framed(page, width, 1000), "--dump-dom", f"--window-size={max(500, width)},1000")
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None
    measured: dict[str, Any] = json.loads(html.unescape(found[1]))
    return measured


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_nothing_is_cut_and_no_labels_overlap(browse: Browse, page: Path, width: int):
    found = measure(browse, page, width)
    assert found["width"] == width  # no horizontal scrolling of the page
    assert found["outside"] == []
    assert found["crossing"] == []
    assert found["smallest"] >= 10  # pixels high, the smallest text of a chart
    assert found["panels"] > 20
    assert found["sections"] >= 12


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_follows_the_theme(browse: Browse, page: Path, theme: str):
    target = SCREENSHOTS / f"report-{theme}.png"
    height = measure(browse, page, DESKTOP)["height"]
    options = [DARK] if theme == "dark" else []
    browse(page, *options, f"--screenshot={target}", f"--window-size={DESKTOP},{height}")
    with Image.open(target) as image:
        assert image.size == (DESKTOP, height)
        small = image.convert("RGB").resize((DESKTOP // 4, height // 4))
    corner = small.getpixel((2, 2))
    assert isinstance(corner, tuple)
    assert (min(corner) > 240) if theme == "light" else (max(corner) < 40)
    colours = small.getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 500  # charts and text, not an empty page


def test_the_phone_layout_is_kept_as_a_screenshot(browse: Browse, page: Path):
    target = SCREENSHOTS / "report-phone.png"
    height = measure(browse, page, PHONE)["height"]
    browse(framed(page, PHONE, height), f"--screenshot={target}", f"--window-size=500,{height}")
    with Image.open(target) as image:
        kept = image.crop((0, 0, PHONE, height))
    kept.save(target)
    assert kept.size == (PHONE, height)


def test_it_prints_in_black_on_white(browse: Browse, page: Path):
    target = SCREENSHOTS / "report.pdf"
    browse(page, DARK, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    content = target.read_bytes()
    assert content.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type /Page\b", content)) < 25
