"""Pictures of the page for the docs: python tools/screenshot.py URL OUT_DIR [FILE AFTER].

Needs the dev extra (playwright), Chromium, and a running `codling serve --repo PATH` at URL. Writes
editor.png, repository.png (FILE of the repository, with a suggestion behind the text AFTER),
chat.png and phone.png.
"""

import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update"""
PATIENCE_MS = 600_000
SETTINGS = """localStorage.setItem("codling.on-pause", "false");
    localStorage.setItem("codling.length", "32");"""
PLACE = """async (after) => {
  const { EditorView } = await import("/web/codemirror.js");
  const view = EditorView.findFromDOM(document.querySelector("#repo-text").shadowRoot);
  const at = view.state.doc.toString().indexOf(after) + after.length;
  view.dispatch({
    selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
  view.focus();
}"""
FILE = "httpx/_auth.py"
AFTER = "    def auth_flow(self, request: Request) -> typing.Generator[Request, Response, None]:\n"
QUESTION = """Write a Python class Stack with push and pop that raises when it is full, then a
Markdown table with the cost of both methods."""


def main(url: str, out_dir: Path, file: str = FILE, after: str = AFTER) -> None:
    """Ask the page at `url` for completions and an answer, and write what it shows as PNGs."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("needs Chromium: apt install chromium")
    out_dir.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=FLAGS.split(), timeout=PATIENCE_MS
        )
        show_editor(open_page(browser, url, (1180, 700), "light"), out_dir)
        show_chat(open_page(browser, url, (1180, 760), "dark"), out_dir)
        show_repository(open_page(browser, url, (1320, 800), "light"), out_dir, file, after)
        browser.close()
    for path in sorted(out_dir.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def open_page(
    browser: Browser, url: str, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> Page:
    """The page in a context of its own, once it knows its model."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=1.5, color_scheme=scheme
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.add_init_script(SETTINGS)
    page.goto(url)
    page.locator("#dot[data-state=up]").wait_for()
    return page


def show_editor(page: Page, out_dir: Path) -> None:
    """A suggestion in the sample text."""
    page.click("#ask")
    page.locator("#state", has_text="Tab accepts").wait_for()
    page.screenshot(path=out_dir / "editor.png", caret="initial")
    page.context.close()


def show_repository(page: Page, out_dir: Path, file: str, after: str) -> None:
    """A suggestion in a file of the repository, asked twice so that the prompt is cached."""
    page.click("#tab-repository")
    page.locator("#tree .folder").first.wait_for()
    page.click(f"#tree [data-path='{file.split('/', maxsplit=1)[0]}'] > .name")
    page.click(f"#tree [data-path='{file}']")
    page.locator("#context-files .part").first.wait_for()
    page.evaluate(PLACE, after)
    shown = (("#context-summary", "in the prompt"), ("#context-files", "cached"))
    for place, text in shown:
        page.keyboard.press("Control+Space")
        page.locator(place, has_text=text).wait_for()
        page.locator("#repo-state", has_text="Tab accepts").wait_for()
        page.screenshot(path=out_dir / "repository.png", caret="initial")
        page.keyboard.press("Escape")
    page.context.close()


def show_chat(page: Page, out_dir: Path) -> None:
    """A short conversation, on a desk and on a phone."""
    page.click("#tab-chat")
    page.click("#open-options")
    page.fill("#system", "You answer with one short code block and few words.")
    page.fill("#most", "120")
    page.fill("#heat", "0")
    page.click("#options >> text=Done")
    page.fill("#say", QUESTION)
    page.keyboard.press("Enter")
    page.locator("#chat-state", has_text="done").wait_for()
    page.screenshot(path=out_dir / "chat.png", caret="initial")
    page.set_viewport_size({"width": 390, "height": 780})
    page.screenshot(path=out_dir / "phone.png")
    page.context.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit("usage: python tools/screenshot.py URL OUT_DIR [FILE AFTER]")
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
