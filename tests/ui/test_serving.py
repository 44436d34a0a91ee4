"""Pictures, scripts and headers, and who is refused."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files

import pytest
from conftest import PNG, RememberingActions, start_run, step_done
from fastapi.testclient import TestClient
from gradio.routes import App

from app.lab import Lab
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui import serving
from app.ui.build import build_page, launch_options
from app.ui.live import POLL_URL

PICTURE = PNG + bytes([0, 0])


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    settings = Settings(folder=tmp_path_factory.mktemp("lab"))
    with Writer(settings.database) as writer:
        start_run(writer, 1)
        yield Lab(settings, Reader(settings.database), RememberingActions(writer))


@pytest.fixture(scope="module")
def client(lab):
    app = App.create_app(build_page(lab), app_kwargs=launch_options(lab)["app_kwargs"])
    return TestClient(app, base_url="http://127.0.0.1:7860")


def test_a_stored_picture_is_served_as_it_is_and_may_be_kept_for_ever(client):
    answer = client.get(serving.picture_url(sha256(PICTURE).hexdigest()))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PICTURE, "image/png")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        f"/pictures/{'0' * 64}.png",
        f"/pictures/{'0' * 63}.png",
        f"/pictures/{'A' * 64}.png",
        f"/pictures/{'0' * 64}.svg",
        f"/pictures/{'0' * 64}.png%0a",
        "/pictures/..%2flab.db",
        "/pictures/",
        "/lab/live.py",
        "/lab/..%2fbuild.py",
        "/lab/nothing.js",
        "/assets/nothing.js",
    ],
)
def test_what_is_not_there_is_not_found(path, client):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", sorted(serving.COMPONENTS.glob("*.js")), ids=lambda path: path.name)
def test_every_script_is_served_as_a_module_and_imports_only_its_neighbours(path, client):
    answer = client.get(f"/lab/{path.name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    imported = re.findall(r'from "(.*?)"', answer.text)
    assert all((path.parent / name).is_file() for name in imported)
    assert "innerHTML" not in answer.text
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


def test_plotly_comes_from_the_wheel(client):
    answer = client.get("/lab/plotly.min.js")
    assert answer.status_code == 200
    assert answer.content == serving.plotly_script().read_bytes()


def test_gradios_own_files_are_served_as_they_are_and_may_be_kept_for_ever(client):
    for name, path in list(serving.gradio_files().items())[:20]:
        answer = client.get(f"/assets/{name}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_what_gradios_page_names_is_among_its_files():
    page = files("gradio") / "templates" / "frontend" / "index.html"
    named = set(re.findall(r"/assets/([\w-]+\.(?:js|css))", page.read_text(encoding="utf-8")))
    assert named
    assert named <= serving.gradio_files().keys()


def test_a_file_that_the_browser_has_is_not_sent_again(client):
    first = client.get("/lab/wall.js")
    again = client.get("/lab/wall.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/lab/live.js", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_small_pictures_are_sent_themselves_and_others_by_where_they_are(writer, reader):
    small, large = bytes(serving.INLINE_BYTES), bytes(serving.INLINE_BYTES + 1)
    step = step_done(0)
    group = step.groups[0]
    samples = (replace(group.samples[0], png=small), replace(group.samples[1], png=large), group.samples[2])
    writer.record(start_run(writer), replace(step, groups=(replace(group, samples=samples),)))
    writer.flush()
    shas = [sha256(png).hexdigest() for png in (small, large)] + ["0" * 64]
    urls = serving.picture_urls(reader, shas)
    assert urls[shas[0]] == "data:image/png;base64," + b64encode(small).decode()
    assert [urls[sha] for sha in shas[1:]] == [f"/pictures/{sha}.png" for sha in shas[1:]]


@pytest.mark.parametrize("path", ["/lab/live.js", "/pictures/none.png", "/config", "/gradio_api/info", "/no/such/page"])
def test_every_answer_carries_the_safe_headers(path, client):
    headers = client.get(path).headers
    assert {name: headers[name] for name in serving.SAFE_HEADERS} == serving.SAFE_HEADERS


def test_the_policy_lets_nothing_leave_the_machine():
    rules = dict(rule.split(" ", 1) for rule in serving.CONTENT_POLICY.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'self'"
    assert not re.search(r"https?:|\*", serving.CONTENT_POLICY)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.4:7860"])
def test_a_foreign_host_name_is_refused(host, client):
    assert client.get("/config", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860"])
def test_the_names_of_this_machine_are_answered(host, client):
    assert client.get("/config", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "path", [POLL_URL, "/gradio_api/component_server/", "/gradio_api/upload", "/gradio_api/run/start"]
)
def test_a_page_of_another_site_cannot_post(path, headers, client):
    answer = client.post(path, json={}, headers=headers)
    assert (answer.status_code, answer.text) == (403, "Refused: this request was sent by a page of another site.")


def test_a_page_is_answered_at_the_labs_own_address(client):
    answer = client.post(POLL_URL, json={"token": None, "run": None, "topics": {"wall": None, "waiting": None}})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    news = answer.json()
    assert (news["topics"]["wall"]["step"], news["topics"]["waiting"]["open"]) == (0, 0)
    assert client.post(POLL_URL, json={"token": news["token"], "topics": {"wall": None}}).json() == {
        "token": news["token"]
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b'"\xff"'])
def test_what_is_no_question_of_a_page_is_refused_in_a_sentence(body, client):
    answer = client.post(POLL_URL, content=body)
    assert (answer.status_code, answer.text) == (400, "A page asks with a JSON object: token, run, topics.")


@pytest.mark.parametrize("topics", [None, 7, [], "wall", {"wall": 7}, {"curves": []}])
def test_senseless_topics_do_not_break_a_page(topics, client):
    assert client.post(POLL_URL, json={"run": "x", "topics": topics}).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}, {}])
def test_the_own_page_and_a_script_without_origin_can(headers, client):
    answer = client.post("/gradio_api/run/choose_recipe", json={"data": ["shapes"]}, headers=headers)
    assert (answer.status_code, answer.json()["data"][0]) == (200, "")


def test_the_lab_folder_is_never_served(client, lab):
    path = lab.settings.database.resolve()
    assert path.is_file()
    assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
