"""E-mail and webhooks over real sockets: what is sent, to whom it is not sent, and what is said about it."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicom_node.database.states import NodeEvent
from dicom_node.database.tables import utc_now
from dicom_node.notifications import mail, webhook
from dicom_node.notifications.channels import channels, problems, send_tests
from dicom_node.notifications.document import LISTED, document
from dicom_node.notifications.mail import send_mail
from dicom_node.notifications.webhook import post
from dicom_node.notifications.wording import RESEARCH, Happened
from dicom_node.settings import Settings, SettingsError, masked_settings, read_settings
from tests.support.orthanc import free_port
from tests.support.receivers import Certificate, mail_server, make_certificate, web_server

ROOM = Path(mail.__file__).parent
SECRET = "a secret of the tests"  # noqa: S105 - of these tests
ID = "0d4a2f0e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NOTIFY_WEBHOOK_SECRET", SECRET)


def _settings(**values: object) -> Settings:
    named = {f"GLIONODE_NOTIFICATIONS_{key}".upper(): str(value) for key, value in values.items()}
    return read_settings(environment={"GLIONODE_WEB_ADDRESS": "https://node.example.org", **named})


def _by_mail(port: int, **values: object) -> Settings:
    to = {"email_to": "anna@example.org, bert@example.org", "email_from": "node@example.org"}
    return _settings(**{**to, "smtp_host": "127.0.0.1", "smtp_port": port, **values})


def _content(settings: Settings, keys: int = 1) -> dict[str, Any]:
    things = [Happened(subject=f"key{number}", detail="worker_killed") for number in range(keys)]
    return document(settings, NodeEvent.STUDY_STOPPED, things, at=utc_now())


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_over_tls_to_a_server_that_is_who_it_says(
    security: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("of the node\n")
    monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_USER", "glionode")
    monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    with mail_server(certificate, implicit=security == "tls", login=("glionode", "of the node")) as box:
        settings = _by_mail(box.port, smtp_security=security, smtp_ca=certificate.pem)
        content = _content(settings)
        answers = [send_mail(settings.notifications, ID, content) for _ in range(2)]
        stranger = send_mail(_by_mail(box.port, smtp_security=security).notifications, ID, content)
    assert [answer.ok for answer in answers] == [True, True]
    assert answers[0].sentence == "the mail server took it for 2 of 2 recipients"
    assert not stranger.ok
    assert "certificate was refused" in stranger.sentence
    assert box.raw[0] == box.raw[1], "sent again, it is the same"
    assert set(box.users) == {"glionode"}
    message = box.mails[0]
    assert message["To"] == "anna@example.org, bert@example.org"
    assert message["Subject"] == "[GLIONODE] A study has stopped (worker_killed) and needs a person."
    assert message["Message-ID"] == f"<{ID}@example.org>"
    text = message.get_content()
    assert "https://node.example.org/studies/key0" in text
    assert RESEARCH in text
    assert ID in text


def test_no_mail_and_no_password_goes_to_a_server_that_offers_no_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_USER", "glionode")
    monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_PASSWORD", "of the node")
    with mail_server(login=("glionode", "of the node")) as box:
        settings = _by_mail(box.port)
        answer = send_mail(settings.notifications, ID, _content(settings))
    assert (answer.ok, box.raw, box.users) == (False, [], [])
    assert answer.sentence == "the mail server offers no encryption (STARTTLS), or no login"


def test_what_the_mail_server_answers_is_said_in_a_sentence_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as box:
        settings = _by_mail(box.port, smtp_security="none")
        box.refusal = "452 too much of Kanarienvogel"
        refused = send_mail(settings.notifications, ID, _content(settings))
        monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_PASSWORD_FILE", "/nowhere/password")
        unread = send_mail(settings.notifications, ID, _content(settings))
    assert refused.sentence == "the mail server answered 452 (SMTPDataError)"
    assert unread.sentence == (
        "the file that GLIONODE_NOTIFY_SMTP_PASSWORD_FILE names cannot be read (FileNotFoundError)"
    )
    monkeypatch.delenv("GLIONODE_NOTIFY_SMTP_PASSWORD_FILE")
    away = send_mail(_by_mail(free_port(), smtp_security="none").notifications, ID, _content(settings))
    assert away.sentence == "the mail server cannot be reached (ConnectionRefusedError)"


def _is_genuine() -> Callable[..., bool]:
    """Return the function by which the page says that a receiver checks the signature."""
    found = re.search(r"```python\n(.*?)```", (ROOM / "README.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102 - our own page
    checks: Callable[..., bool] = names["is_genuine"]
    return checks


def test_a_webhook_gets_signed_json_over_tls_and_the_readme_checks_it(certificate: Certificate) -> None:
    with web_server(certificate) as box:
        settings = _settings(webhook=box.url, webhook_ca=certificate.pem)
        content = _content(settings, LISTED + 5)
        answer = post(settings.notifications, ID, content)
        stranger = post(_settings(webhook=box.url).notifications, ID, content)
    assert (answer.ok, answer.sentence) == (True, "answer 204")
    assert stranger.sentence == "the receiver cannot be reached (ConnectError)"
    (posted,) = box.posted
    assert json.loads(posted.body) == {"id": ID, **content}
    assert posted.headers["Idempotency-Key"] == ID
    assert posted.headers["Content-Type"] == "application/json"
    genuine = _is_genuine()
    assert genuine(posted.headers, posted.body, SECRET)
    assert not genuine(posted.headers, posted.body.replace(b"study_stopped", b"study_started"), SECRET)
    assert not genuine(posted.headers, posted.body, SECRET + "!")
    for other in (int(time.time()) - 301, int(posted.headers["X-GlioNode-Timestamp"]) + 1):
        assert not genuine({**posted.headers, "X-GlioNode-Timestamp": str(other)}, posted.body, SECRET)


def test_the_document_has_the_keys_that_the_readme_lists() -> None:
    content = _content(_settings(webhook="https://watch.example.org"), LISTED + 5)
    table = (ROOM / "README.md").read_text("utf-8").partition("## What a webhook gets")[2].partition("```")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {"id", *content}
    assert content["sentence"] == f"{LISTED + 5} studies have stopped and need a person."
    assert (content["count"], len(content["about"])) == (LISTED + 5, LISTED)
    assert content["link"] == "https://node.example.org/work"
    assert content["about"][0]["link"] == "https://node.example.org/studies/key0"
    assert content["notice"] == RESEARCH


def test_every_code_stands_in_the_readme() -> None:
    table = (ROOM / "README.md").read_text("utf-8").partition("| code |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(map(str, NodeEvent))


@pytest.mark.parametrize("status", [301, 307, 400, 500])
def test_a_refusal_is_no_delivery_and_no_redirection_is_followed(status: int) -> None:
    with web_server() as other, web_server() as box:
        box.status, box.headers = status, {"Location": other.url}
        answer = post(_settings(webhook=box.url).notifications, ID, {})
    assert not answer.ok
    assert answer.sentence.startswith(f"answer {status}")
    assert (len(box.posted), other.posted) == (1, [])


def test_an_answer_of_any_length_costs_nothing_and_one_that_never_comes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as box:
        settings = _settings(webhook=box.url).notifications
        box.status, box.body = 200, bytes(64 * 2**20)
        assert post(settings, ID, {}).ok
        monkeypatch.setattr(webhook, "DEADLINE_S", 0.2)
        box.before = lambda: time.sleep(1)
        assert post(settings, ID, {}).sentence == "no answer within 0.2 s"
    monkeypatch.setenv("GLIONODE_NOTIFY_WEBHOOK_SECRET", "short")
    assert "shorter than 16" in post(settings, ID, {}).sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"webhook": "http://watch.example.org"}, "only https reaches another host"),
        ({"webhook": "https://user:word@watch.example.org"}, "without a user"),
        ({"webhook": "ftp://watch.example.org"}, "use something like"),
        ({"webhook": "https://[::"}, "use something like"),
        ({"email_to": "anna@example.org\nBcc: eve@example.org"}, "use addresses such as"),
        ({"email_to": "anna"}, "use addresses such as"),
        ({"email_to": "a@example.org", "email_from": "b"}, "use addresses such as"),
        ({"email_to": "a@example.org", "smtp_security": "maybe"}, "use starttls, tls, none"),
        ({"email_to": "a@example.org", "smtp_security": "none", "smtp_host": "mail.example.org"}, "on this machine"),
        ({"pause_minutes": -1}, "must not be less than 0"),
    ],
)
def test_what_could_not_be_sent_safely_is_refused_by_the_settings(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _settings(**values)


def test_what_is_missing_is_said_and_nothing_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(_settings()) == []
    assert channels(_settings()) == []
    monkeypatch.setenv("GLIONODE_NOTIFY_SMTP_USER", "glionode")
    monkeypatch.delenv("GLIONODE_NOTIFY_WEBHOOK_SECRET")
    values = {"email_to": "anna@example.org", "webhook": "https://chat.example.org/hooks/T0KEN", "smtp_ca": "/no/ca"}
    settings = _settings(**values)
    found = " ".join(problems(settings))
    for part in ("email_from", "smtp_host", "smtp_ca", "SMTP_PASSWORD", "GLIONODE_NOTIFY_WEBHOOK_SECRET"):
        assert part in found
    assert "T0KEN" not in str([each.target for each in channels(settings)]) + str(masked_settings(settings))
    assert masked_settings(settings)["notifications"]["webhook"] == "https://chat.example.org/***"


def test_a_test_goes_by_each_way_and_says_what_came_of_it() -> None:
    with mail_server() as box, web_server() as web:
        web.status = 503
        tested = send_tests(_by_mail(box.port, smtp_security="none", webhook=web.url))
    assert [(one.channel, one.ok) for one in tested] == [("mail", True), ("webhook", False)]
    assert tested[1].sentence == "answer 503"
    assert "This is a test" in box.mails[0]["Subject"]
    assert json.loads(web.posted[0].body)["code"] == "test"
