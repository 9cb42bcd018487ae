"""What one typed character costs the page, in texts of several lengths.

    codling serve MODEL &
    python benchmarks/keystroke.py http://127.0.0.1:8000/

Input: the address of a running server; needs the dev extra (playwright) and Chromium. Output: a
line per length: milliseconds of the page's own thread, in processor time, scripts, layout and
painting together, so that other programs do not count. The cursor stands in the middle of the
text, which is Python and coloured; asking on a pause is off.

Not here: the completion (docs/benchmarks.md has its times).
"""

import shutil
import sys

from playwright.sync_api import Page, sync_playwright

LENGTHS = (100, 1_000, 12_000, 50_000)
N_KEYS = 100
LINE = "    total = add(first, second)  # a line of code\n"
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update"""
PATIENCE_MS = 600_000
FILL = """async ([text, line]) => {
  const { EditorView } = await import("/web/codemirror.js");
  const view = EditorView.findFromDOM(document.querySelector("#text").shadowRoot);
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
  view.dispatch({ selection: { anchor: view.state.doc.line(line).from }, scrollIntoView: true });
  view.focus();
}"""


def main(url: str) -> None:
    """Print the cost of a keystroke at each length."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS.split(), timeout=PATIENCE_MS
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script("localStorage.setItem('codling.on-pause', 'false')")
        page.goto(url)
        page.locator("#dot[data-state=up]").wait_for()
        for n_lines in LENGTHS:
            print(f"{n_lines:>6} lines: {measure(page, n_lines):.2f} ms a keystroke")
        browser.close()


def measure(page: Page, n_lines: int) -> float:
    """Milliseconds of processor time for one character."""
    page.evaluate(FILL, ["def work():\n" + LINE * n_lines, n_lines // 2])
    page.wait_for_timeout(1000)  # the text is read and coloured in pauses
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = client.send("Performance.getMetrics")["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    before = used()
    for _ in range(N_KEYS):
        page.keyboard.press("x")
    return 1000 * (used() - before) / N_KEYS


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/keystroke.py URL")
    main(sys.argv[1])
