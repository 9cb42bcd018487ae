"""A picture of the page with a suggestion in it: python tools/screenshot.py URL OUT.

Needs the dev extra (playwright), Chromium, and a running `codling serve` at URL.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update"""


def main(url: str, out: Path) -> None:
    """Ask the page at `url` for a suggestion and write what it shows as a PNG."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(
            viewport={"width": 1180, "height": 700}, device_scale_factor=1.5, color_scheme="light"
        )
        page.goto(url)
        page.locator("#dot[data-state=up]").wait_for()
        page.focus("#text")
        page.keyboard.press("Control+Space")
        page.locator("#state", has_text="Tab accepts").wait_for(timeout=60_000)
        page.screenshot(path=out, caret="initial")
        browser.close()
    print(f"{out}: {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tools/screenshot.py URL OUT")
    main(sys.argv[1], Path(sys.argv[2]))
