"""The page Help: open to those who may see it, its pictures there, every code explained, every link good."""

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from conversion.errors import ConversionReason
from dicom_node.cli.main import COMMANDS
from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, FetchState, JobState, RunState, StudyState, UserRole
from dicom_node.database.tables import DecisionRow, DeliveryRow, ResultRow, RunRow
from dicom_node.runs.consequences import OUTAGES
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.explained.groups import GROUPS
from dicom_node.web.explained.pages import AUDIT, PAGES, PageHelp
from inference.errors import InferenceReason
from inference.flags import FlagCode
from inference.regions import Label
from tests.support.held_study import hold_run
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S
from viewer_integration.codes import SEGMENTS
from viewer_integration.errors import ResultReason

ROOT = Path(__file__).parents[4]
PICTURES = ROOT / "dicom_node" / "web" / "static" / "help"
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")
EXPLAINED = {group.kind: {one.code for one in group.entries} for group in GROUPS}

DECISION = r"Decision\(\s*code=\"(\w+)\"|(?:_decision\(|series_decision\(ds,)\s*\"(\w+)\"|^REFUSED = \"(\w+)\""
FAULT = (
    r"Consequence\.\w+, (?:code=)?\"(\w+)\"|RunState\.\w+, \"(\w+)\"|StepOutcome\(.*code=\"(\w+)\"|, \"(defect)\"\)"
    r"|return \"(\w+)\", \"the node's disk is full|return \"(\w+)\", \"the database cannot be reached"
)
REFUSAL = (
    r"Rejection\(code=\"(\w+)\"|InboxRefusal\(\"(\w+)\"|LineError\(\"(\w+)\"|^MALFORMED = \"(\w+)\""
    r"|\b_?refuse(?:_once)?\((?:(?:self\.)?assoc, )?\"(\w+)\""
)


class _Page(HTMLParser):
    """What a page names: identifiers, links and images."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.identifiers: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names."""
        given = {name: value or "" for name, value in attrs}
        self.identifiers += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.images += [given] if tag == "img" else []


@pytest.fixture
def address(database: Database, tmp_path: Path) -> Iterator[str]:
    with served(panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)}), database)) as url:
        yield url


@pytest.fixture
def client(database: Database, address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=ANSWER_S) as opened:
        log_in(opened, database)
        yield opened


def _found(pattern: str, rooms: tuple[str, ...]) -> set[str]:
    """Return every code that a pattern finds in the sources, in whichever of its groups."""
    sources = (path.read_text("utf-8") for room in rooms for path in (ROOT / room).rglob("*.py"))
    matches = (found for text in sources for found in re.findall(pattern, text, flags=re.MULTILINE))
    return {code for found in matches for code in found if code}


def test_strangers_are_asked_to_log_in(address: str) -> None:
    answer = httpx.get(f"{address}/help", timeout=ANSWER_S)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_visitors_of_an_open_workbench_see_it_and_a_way_to_it(database: Database, tmp_path: Path) -> None:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_WORKBENCH_OPEN": "true"}
    with (
        served(panel_app(read_settings(environment=environment), database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as visitor,
    ):
        assert "/help" in _Page(visitor.get("/workbench").text).links
        page = visitor.get("/help")
        assert (page.status_code, "/studies" in _Page(page.text).links) == (200, False)
        assert '<a href="/help" aria-current="page">' in page.text
        assert visitor.get("/helper").status_code == 303


def test_anchors_are_unique_and_every_link_leads_somewhere(client: httpx.Client) -> None:
    page = _Page(client.get("/help").text)
    assert [name for name, count in Counter(page.identifiers).items() if count > 1] == []
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert len(inner) > 15
    assert inner <= set(page.identifiers)
    outer = {link for link in page.links if not link.startswith("#")}
    assert {"/help", "/studies", "/workbench"} <= outer
    answers = {link: client.get(link, follow_redirects=True).status_code for link in outer}
    assert answers == dict.fromkeys(outer, 200)


def test_the_contents_name_every_part(client: httpx.Client) -> None:
    page = client.get("/help").text
    headings = set(re.findall(r'<h2 id="(\w+)"', page)) - {"contents"}
    contents = page[page.index('class="card contents"') : page.index("</nav>", page.index('class="card contents"'))]
    assert {link[1:] for link in _Page(contents).links} == headings


def test_every_picture_is_there_is_shown_and_is_described(client: httpx.Client) -> None:
    shown = [one for one in _Page(client.get("/help").text).images if one["src"].startswith("/static/help/")]
    assert {Path(one["src"]).name for one in shown} == {path.name for path in PICTURES.iterdir()}
    assert len({one["alt"] for one in shown}) == len(shown) == 10
    for one in shown:
        assert "synthetic" in one["alt"]
        assert client.get(one["src"]).headers["content-type"] == "image/png"
        with Image.open(PICTURES / Path(one["src"]).name) as picture:
            assert picture.size == (int(one["width"]), int(one["height"]))
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 250_000


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        *((name, []) for name in ("t1", "t1ce", "t2", "flair")),
        ("ncr", [Label.NCR]),
        ("ed", [Label.ED]),
        ("et", [Label.ET]),
        ("tc", [Label.NCR, Label.ET]),
        ("wt", [Label.WHOLE_TUMOUR]),
        ("all", [Label.NCR, Label.ED, Label.ET]),
    ],
)
def test_regions_have_the_colours_that_viewers_show(name: str, labels: list[Label]) -> None:
    with Image.open(PICTURES / f"{name}.png") as picture:
        colours = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    assert {label for label, concept in SEGMENTS.items() if concept.rgb in colours} == set(labels)
    assert any(len(set(colour)) > 1 for colour in colours) == bool(labels)


@pytest.mark.parametrize("page", [one for one in PAGES if one.path], ids=lambda one: one.title)
def test_a_page_links_to_what_help_says_of_it(client: httpx.Client, page: PageHelp) -> None:
    shown = client.get(page.path, follow_redirects=True)
    assert shown.status_code == 200
    assert f"/help#{page.anchor}" in _Page(shown.text).links
    assert page.anchor in _Page(client.get("/help").text).identifiers


def test_help_says_what_each_page_is_for(client: httpx.Client) -> None:
    text = client.get("/help").text
    navigation = text[text.index('<nav aria-label="Pages"') : text.index("</nav>")]
    shown = dict(re.findall(r'<a href="(/\w+)"[^>]*>([^<]+)</a>', navigation))
    del shown["/help"]
    assert shown | {"/setup": "First steps"} == {one.path: one.title for one in PAGES if one is not AUDIT}
    part = text[text.index('<h2 id="pages"') : text.index("</section>", text.index('<h2 id="pages"'))]
    assert {link for link in _Page(part).links if link.startswith("/")} == set(shown) | {"/setup"}
    jumps = part[: part.index("<div")]
    assert [link for link in _Page(jumps).links if link != "#roles"] == [f"#{one.anchor}" for one in PAGES]
    for sentence in (sentence for one in PAGES for sentence in (one.what, *one.tasks)):
        assert (sentence[0].isupper(), sentence[-1], sentence.count("`") % 2) == (True, ".", 0), sentence
    assert set(re.findall(r"<code>glionode (\w+)", part)) <= set(COMMANDS)


def test_help_names_the_least_role_of_each_page_and_links_only_to_ones_own(database: Database, address: str) -> None:
    for role in UserRole:
        with httpx.Client(base_url=address, timeout=ANSWER_S) as person:
            log_in(person, database, role, name=role)
            text = person.get("/help").text
            part = text[text.index('<h2 id="pages"') : text.index("</section>", text.index('<h2 id="pages"'))]
            linked = {link for link in _Page(part).links if link.startswith("/")}
            order = list(UserRole)
            named = {one.path: UserRole(re.split(r"\W", one.who)[0].lower()) for one in PAGES if one.path}
            assert linked == {path for path, least in named.items() if order.index(least) <= order.index(role)}


def test_help_says_something_of_each_of_the_first_steps(client: httpx.Client) -> None:
    titles = re.findall(r">\d\. ([^<]+)<", client.get("/setup/name").text)
    (tasks,) = (one.tasks for one in PAGES if one.path == "/setup")
    named = [task.partition(":")[0] for task in tasks]
    assert [title for title in titles if title not in named] == []
    assert len(titles) == 5


@pytest.mark.parametrize(("path", "anchor"), [("/setup/name", "page-setup"), ("/peers-import", "page-peers")])
def test_what_belongs_to_a_page_links_there_too(client: httpx.Client, path: str, anchor: str) -> None:
    assert [link for link in _Page(client.get(path).text).links if link.startswith("/help#")] == [f"/help#{anchor}"]


def test_every_code_is_explained_and_no_other() -> None:
    reasons = {*ConversionReason, *InferenceReason, *ResultReason}
    assert {
        "state": set(StudyState),
        "run": set(RunState) - set(StudyState),
        "delivery": set(DeliveryState),
        "flag": set(FlagCode),
        "reason": reasons,
        "fault": _found(FAULT, ("dicom_node",)) | set(OUTAGES),
        "decision": _found(DECISION, ROOMS),
        "refusal": _found(REFUSAL, ("dicom_node",)),
        "fetch": set(FetchState),
        "upload": set(JobState),
    } == EXPLAINED


def test_every_reason_that_the_manual_names_is_explained() -> None:
    manual = (ROOT / "dicom_node" / "README.md").read_text("utf-8")
    others = manual[manual.index("Other codes:") : manual.index("**Limits of the listener.**")]
    named = set(re.findall(r"`(\w+)`", others))
    assert named <= EXPLAINED["fault"] | EXPLAINED["refusal"] | EXPLAINED["reason"]


def test_each_explanation_stands_on_the_page_in_whole_sentences(client: httpx.Client) -> None:
    page = client.get("/help").text
    for one in (one for group in GROUPS for one in group.entries):
        assert f'id="{one.anchor}"><dt><code>{one.code}</code>' in page
        for text in (one.means, one.then):
            assert (text[0].isupper(), text[-1], text.count("`") % 2) == (True, ".", 0), one.anchor
    assert "`" not in page


def test_its_figures_are_those_of_the_benchmark(client: httpx.Client) -> None:
    table = (ROOT / "benchmarks" / "models.md").read_text("utf-8")
    page = client.get("/help").text
    (name,) = re.findall(r"^`glioma` (\S+) consists", table, flags=re.MULTILINE)
    assert f"glioma {name}" in page
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    by_name = {row[0].removeprefix("| ").partition(":")[0]: row for row in rows}
    dice, heads, operated = (by_name[key] for key in ("38 BraTS patients", *_HEADS))
    for value, target in zip(dice[1].split(", "), dice[3].split(", "), strict=True):
        assert f"<td>{value}</td><td>{target}, not reached</td>" in page
    for row in (heads, operated):
        assert f"<td>{row[1]}</td><td>{row[3]}</td>" in page
    (intervals,) = (row[1] for key, row in by_name.items() if key.startswith("90 % intervals"))
    shares = re.findall(r"(?:WT|TC|ET) (\d+ %)", intervals)
    assert re.search(r"{} for the whole tumour, {} for the core\s+and {} for".format(*shares), page)


_HEADS = ("heads without a tumour in which none is found", "operated heads")


def test_a_study_links_to_what_its_words_mean(client: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.UNDELIVERED)
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {"flags": [FlagCode.BOTH_SIDES], "volumes_ml": {"WT": 4.0}}
        for number, (code, subject) in enumerate((("both_sides", "result"), ("islands", "WT"))):
            session.add(DecisionRow(run_id="run", ordinal=number, code=code, subject=subject, reason="it was left out"))
        facts = {"run_id": "run", "study_uid": "1.2", "series_uid": "1.3", "sop_class_uid": "1.4"}
        session.add(ResultRow(sop_instance_uid="1.5", kind="SEG", path="x", sha256="0", **facts))
        session.flush()
        state = DeliveryState.REFUSED
        session.add(DeliveryRow(run_id="run", sop_instance_uid="1.5", destination="archive", state=state))
    page, listed, explained = (client.get(path).text for path in ("/studies/abc", "/studies", "/help"))
    anchors = {link.partition("#")[2] for link in _Page(page).links if link.startswith("/help#")} - {"page-studies"}
    words = {"state-undelivered", "flag-both_sides", "decision-islands", "delivery-refused"}
    assert anchors == words | {"correcting"}
    assert anchors <= set(_Page(explained).identifiers)
    assert '<span class="state bad">refused</span>' in page
    in_list = {link for link in _Page(listed).links if link.startswith("/help#")}
    assert in_list == {"/help#state-undelivered", "/help#flag-both_sides", "/help#page-studies"}
