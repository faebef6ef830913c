"""The report in a real browser: it draws without a network, and names from data do nothing."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

import frviz
from frviz.figures.style import short_names

HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>"

pytestmark = pytest.mark.browser


def opened(page: Page, report: Path) -> None:
    """Opens a report and waits for its figures."""
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelectorAll('.main-svg').length >= 6", timeout=60_000)


@pytest.mark.parametrize("names", [("plain", "FR Head"), (HOSTILE, f"</title>{HOSTILE}")])
def test_fault_18_a_report_draws_offline_and_is_inert(
    page: Page, seen, make, random_pair, tmp_path: Path, names: tuple[str, str]
) -> None:
    a, b = random_pair(300, gain=0.15)
    evil = names[0] != "plain"
    ids = [f"{HOSTILE}{n}" for n in range(300)] if evil else a.sample_ids
    classes = [f"{HOSTILE}{k}" if evil else f"action {k}" for k in range(10)]
    a, b = (make(x.labels, x.predicted, ids=ids, class_names=classes) for x in (a, b))
    report = frviz.compare(a, b, names=names).report(tmp_path / "report.html")
    opened(page, report)
    confused = [
        name for k, name in enumerate(classes) if (a.predicted != a.labels)[a.labels == k].any()
    ]
    assert len(confused) == 9  # the last class is always right: there is no group around it
    # blob: is the module of the explorer, which the page itself holds
    assert seen == {"requests": [report.as_uri(), "blob:"], "console": [], "dialogs": []}
    assert page.locator("h1").text_content() == " and ".join(names)
    assert page.title() == " and ".join(names)
    assert page.locator(".js-plotly-plot").count() == 6
    drawn = page.locator("#figure-2 .yaxislayer-above text").all_text_contents()
    assert sorted(drawn) == sorted(short_names(confused, 26))
    assert page.locator("img").count() == 0
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("details[open] table").count() >= 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
