"""The page of a comparison: whatever passages hold, it stays a page; and a browser shows what it says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cocom.evaluation.answering import Settings
from cocom.evaluation.comparison_report import Plan, compare
from cocom.evaluation.hard import HardSettings
from cocom.evaluation.page import embedded
from cocom.evaluation.preparing import Finding
from tests.evaluation.conftest import ESCAPING

SETTINGS = Settings(HardSettings(classifier="none"), max_new_tokens=3)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
def folder(tiny, questions_file, hard, tmp_path, monkeypatch) -> Path:
    """A comparison in which text answers four questions right and rate 4 one other."""
    from cocom import Cocom

    answer_batch = Cocom.answer_batch
    lines = questions_file.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    texts = {entry["passage"] for entry in entries}
    answers = {entry["question"]: entry["answers"][0] for entry in entries}
    places = {question: n for n, question in enumerate(answers)}

    def told(self, questions, passages, **options):
        found = answer_batch(self, questions, passages, **options)
        made = []
        for answer, question, own in zip(found, questions, passages, strict=True):
            as_text = bool(own) and own[0] in texts
            right = places[question] < 4 if as_text else places[question] == 5 and own
            made.append(replace(answer, text=answers[question] if right else ESCAPING))
        return made

    monkeypatch.setattr(Cocom, "answer_batch", told)
    plan = Plan(
        str(questions_file),
        Finding(passages=3),
        columns=("text", "rate 4", "no passage", "llmlingua rate 4", "wrong *"),
        reconstruct=0,
    )
    compare(tiny, plan, SETTINGS, tmp_path / "out")
    return tmp_path / "out"


def test_data_cannot_end_its_script_and_comes_back_as_it_was() -> None:
    value = {"text": ESCAPING, "more": "<!-- <script> ]]> \u2029 ü 서울"}
    text = embedded(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_the_page_has_the_scripts_of_its_template_only_and_loads_nothing(folder) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<script", page)) == len(re.findall(r"</script>", page)) == 2
    assert not re.search(r"(src|href)\s*=|@import|url\(", page)
    assert "default-src 'none'" in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert ESCAPING in next(p for p in json.loads(data[1])["passages"] if p.startswith("Di "))


def test_half_a_surrogate_pair_is_written_as_json_writes_it(tiny, tmp_path, questions_file) -> None:
    with questions_file.open("a") as file:
        file.write('{"question": "\\ud800?", "answers": ["\\udc00"], "passage": "x \\ud800"}\n')
    plan = Plan(str(questions_file), Finding(passages=2), ("no passage",), reconstruct=0)
    compare(tiny, plan, Settings(HardSettings(), max_new_tokens=2), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    shown = json.loads(page.partition(' id="data">')[2].partition("</script>")[0])
    assert shown["questions"][-1]["question"] == "\ud800?"


def test_a_name_cannot_become_markup(tiny, tmp_path, questions_file) -> None:
    evil = questions_file.rename(tmp_path / "<img onerror=x>&.jsonl")
    plan = Plan(str(evil), Finding(passages=3), columns=("no passage",), reconstruct=0)
    compare(tiny, plan, SETTINGS, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert html.escape("<img onerror=x>&.jsonl") in page


def test_plots_are_drawings_with_a_marker_a_column(folder) -> None:
    for name in ("exact_match_rows", "exact_match_time", "f1_rows", "f1_time"):
        tree = ElementTree.fromstring((folder / f"{name}.svg").read_text(encoding="utf-8"))
        tips = [e.text or "" for e in tree.iter("{http://www.w3.org/2000/svg}title")]
        assert len(tips) == 5
        (text,) = (tip for tip in tips if tip.startswith("text: "))
        assert re.match(r"text: \d+\.\d\d % \(", text)
    exact = (folder / "exact_match_rows.svg").read_text(encoding="utf-8")
    assert "text: 33.33 %" in exact
    assert "rate 4: 8.33 %" in exact


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install it (apt-get install chromium)")
    return found


def opened(browser: str, folder: Path, script: str = "") -> str:
    """The page as a browser has it after its scripts and one more."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    probe = folder / "probe.html"
    probe.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [browser, *options, profile, "--dump-dom", probe.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout.decode()


def select(**values: str) -> str:
    """Script that chooses in the page's selectors, by the words that are seen."""
    return "".join(
        f"{{const box = document.getElementById({json.dumps(name)});"
        f"box.value = [...box.options].find(o => o.textContent === {json.dumps(value)}).value;"
        "box.dispatchEvent(new Event('change'));}"
        for name, value in values.items()
    )


def right(folder: Path, name: str) -> set[int]:
    """Numbers of the questions that a column answered right."""
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[1:-1]
    return {row["n"] for row in map(json.loads, lines) if row["exact_match"]}


def articles(dom: str) -> list[str]:
    return re.findall(r'<article class="question">(.*?)</article>', dom, re.DOTALL)


def test_a_browser_lists_the_questions_in_which_two_columns_differ(browser, folder) -> None:
    dom = opened(browser, folder)
    assert "<title>Comparison on people.jsonl</title>" in dom
    assert "4 are answered right only by A and 1 only by B." in dom
    found = articles(dom)
    assert [re.search(r"<h3>(\d+)\.", one)[1] for one in found] == ["0", "1", "2", "3", "5"]  # type: ignore[index]
    assert "Where does Di live?" in found[3]
    assert html.escape(ESCAPING, quote=False) in found[3], "as text, in answer and passage"
    assert len(re.findall(r"<script", dom)) == 3, "nothing of the data became a script"


def test_a_browser_follows_the_selectors(browser, folder) -> None:
    script = select(a="rate 4", b="llmlingua rate 4", which="where only B is right", quality="F1")
    dom = opened(browser, folder, script)
    soft, hard = right(folder, "rate-4"), right(folder, "llmlingua-rate-4")
    assert (
        f"{len(soft - hard)} are answered right only by A and {len(hard - soft)} only by B" in dom
    )
    numbers = re.findall(r'<article class="question"><h3>(\d+)\.', dom)
    assert {int(number) for number in numbers} == hard - soft
    assert soft - hard
    assert hard - soft
    shown = re.findall(r'<figure data-quality="(\w+)"( hidden="")?', dom)
    assert {name for name, hidden in shown if not hidden} == {"f1"}
    dom = opened(browser, folder, select(a="no passage", b="llmlingua rate 4", which="all"))
    found = articles(dom)
    assert len(found) == 10
    assert "Shown: 1 to 10 of 12." in dom
    assert "<del>" in found[0]
    assert "what stayed of them; the rest is struck out" in found[0]
    again = select(a="no passage", b="wrong passages rate 4", which="all")
    dom = opened(browser, folder, again + "document.getElementById('after').click();")
    assert "Shown: 11 to 12 of 12." in dom
    assert len(articles(dom)) == 2


def test_struck_out_text_and_kept_text_are_the_passage_together(browser, folder) -> None:
    dom = opened(browser, folder, select(a="text", b="llmlingua rate 4", which="all"))
    with (folder.parent / "people.jsonl").open(encoding="utf-8") as file:
        texts = {json.loads(line)["passage"] for line in file}
    for article in articles(dom):
        found = re.findall(r'<p(?: class="gold")?>(.*?)</p>', article, re.DOTALL)
        assert len(found) == 6
        assert {html.unescape(re.sub(r"</?del>", "", one)) for one in found} <= texts
