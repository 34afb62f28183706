"""The page as headless Chromium shows it; skipped where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DARK, LIGHT = 0, 1  # of Blink's preferredColorScheme
NARROW, WIDE = 600, 1280

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def browse(page: Path, profile: Path, width: int, scheme: int, *options: str) -> tuple[str, str]:
    """What headless Chromium prints and logs."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={width},2000",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def screenshot(page: Path, folder: Path, width: int, scheme: int) -> np.ndarray:
    """(height, width, 3) the first screen, 0 … 1; fails where the console has a message."""
    path = folder / f"{width}-{scheme}.png"
    _, logged = browse(page, folder / "profile", width, scheme, f"--screenshot={path}")
    assert ":CONSOLE" not in logged
    return np.asarray(imread(path))[..., :3]


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_both_schemes_show_the_page(report: Path, tmp_path: Path, width: int) -> None:
    light = screenshot(report, tmp_path, width, LIGHT)
    dark = screenshot(report, tmp_path, width, DARK)
    assert light.shape == dark.shape == (2000, width, 3)
    assert light[2, 2].mean() > 0.9 and dark[2, 2].mean() < 0.2
    for shown in (light, dark):
        differs = np.abs(shown - shown[2, 2]).max(axis=-1) > 0.1
        assert 0.01 < differs.mean() < 0.5
        # Something to see in every fifth of the screen.
        assert all(part.any() for part in np.array_split(differs, 5))


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_sticks_out_sideways(report: Path, tmp_path: Path, width: int) -> None:
    # The page itself has no scripts: this one measures a copy.
    measure = """<script>
    const lost = [...document.querySelectorAll("svg text")].filter(text => {
      const box = text.getBoundingClientRect(), whole = text.closest("svg").getBoundingClientRect();
      return box.right > whole.right + 2 || box.left < whole.left - 2;
    });
    document.title = [document.documentElement.scrollWidth, lost.length].join(" ");
    </script></body>"""
    copy = tmp_path / "measured.html"
    copy.write_text(report.read_text(encoding="utf-8").replace("</body>", measure), "utf-8")
    shown, _ = browse(copy, tmp_path / "profile", width, LIGHT, "--dump-dom")
    found = re.search(r"<title>(\d+) (\d+)</title>", shown)
    assert found is not None
    assert int(found[1]) <= width
    assert int(found[2]) == 0
