"""report.html in a real browser: it renders, holds no script and loads nothing from outside."""
import re
import subprocess

from conftest import need_program


def test_the_report_renders_in_a_browser(tiny_run, tmp_path):
    browser = need_program("chromium")
    report = tiny_run.output / "report.html"
    text = report.read_text()
    assert "<script" not in text and not re.search(r'(src|href)=["\']https?:', text)
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", f"--screenshot={tmp_path}/report.png",
                           "--window-size=1100,2400", "--dump-dom", f"file://{report}"], capture_output=True, text=True, timeout=120)
    assert "Loss" in done.stdout and "<svg" in done.stdout and "SUCCEEDED" in done.stdout, done.stderr[-2000:]
