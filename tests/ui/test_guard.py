"""Who may speak to the page's server: nobody from another site, under another name, or without the token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from served import PORT, Page
from starlette.testclient import TestClient

from gas_ui import guard, signing
from gas_ui.desk import Desk
from gas_ui.guard import Door, Guard
from gas_ui.routes import STATIC, application

ELSEWHERE = "http://evil.example"


@pytest.fixture
def stranger(client: TestClient) -> TestClient:
    """A browser without the token."""
    client.cookies.clear()
    return client


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", "", "x:y"]
)
def test_another_name_is_refused_whatever_it_resolves_to(client: TestClient, host: str) -> None:
    assert client.get("/api/start").status_code == 200
    assert client.get("/api/start", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}", f"LOCALHOST:{PORT}"])
def test_the_names_of_this_machine_are_known(client: TestClient, host: str) -> None:
    assert client.get("/api/start", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", f"http://127.0.0.1:{PORT + 1}", f"http://localhost:{PORT}"])
def test_another_sites_page_changes_and_reads_nothing(client: TestClient, desk: Desk, origin: str) -> None:
    before = len(desk.windows)
    assert client.post("/api/windows", headers={"origin": origin}).status_code == 403
    assert client.get("/api/start", headers={"origin": origin}).status_code == 403
    assert len(desk.windows) == before


def test_a_change_without_an_origin_is_refused(client: TestClient, desk: Desk) -> None:
    del client.headers["origin"]
    assert client.get("/api/start").status_code == 200
    assert client.post("/api/windows").status_code == 403
    assert not desk.windows


def test_another_sites_page_shows_no_picture_of_ours(client: TestClient) -> None:
    del client.headers["origin"]  # an <img> of another site sends none
    picture = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/api/examples/0").status_code == 200
    assert client.get("/api/examples/0", headers=picture).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/api/start", headers=link).status_code == 403


@pytest.mark.parametrize("path", ["/api/start", "/api/choices", "/api/examples/0", "/api/w/x"])
def test_nothing_is_told_without_the_token(stranger: TestClient, door: Door, path: str) -> None:
    assert stranger.get(path).status_code == 401
    stranger.cookies.set(door.cookie, "guess")
    assert stranger.get(path).status_code == 401
    stranger.cookies.set(door.cookie, door.secret)  # the password itself is not what the cookie holds
    assert stranger.get(path).status_code == 401
    assert stranger.post("/api/windows").status_code == 401


def test_the_address_with_the_token_lets_in_and_hides_it(stranger: TestClient, door: Door) -> None:
    told = stranger.get("/", params={"token": door.secret}, follow_redirects=False)
    assert told.status_code == 303 and told.headers["location"] == "/"
    cookie = told.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and door.secret not in told.headers["set-cookie"]
    stranger.cookies.set(door.cookie, door.session)
    assert "<title>gas</title>" in stranger.get("/").text


def test_a_wrong_password_costs_time(
    stranger: TestClient,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(signing.time, "sleep", slept.append)
    assert stranger.post("/login", data={"password": "guess"}).status_code == 403
    assert stranger.get("/", params={"token": "guess"}, follow_redirects=False).headers["location"] == "/login"
    assert slept == [signing.WRONG_SECONDS] * 2
    assert stranger.post("/login", data={"password": door.secret}, follow_redirects=False).status_code == 303


def test_a_body_is_as_long_as_it_may_be(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PHOTO_BYTES", 1000)
    monkeypatch.setattr(guard, "BODY_BYTES", 500)
    for path, limit in ((f"{page.base}/photo/file", 1000), (f"{page.base}/plan", 500)):
        assert page.client.post(path, content=b"x" * limit).status_code == 422
        assert page.client.post(path, content=b"x" * (limit + 1)).status_code == 413
        parts = (b"x" * 300 for _ in range(5))  # without a length in the header
        assert page.client.post(path, content=parts).status_code == 413
        for length in ("-1", "x", str(limit + 1)):  # refused by what the header says, before anything is read
            told = page.client.post(path, content=b"x", headers={"content-length": length})
            assert told.status_code == 413
    assert not list(Path(page.desk.windows[page.id].folder).rglob("photo*"))


def test_every_answer_forbids_what_comes_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/login", "/static/main.js", "/api/start", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_the_page_names_no_other_host() -> None:
    for file in STATIC.iterdir():
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text()))
        assert found <= {"http://www.w3.org"}, f"{file.name}: {found}"  # the name of SVG, which nobody asks for


@pytest.mark.parametrize("path", ["/static/../routes.py", "/static/%2e%2e/routes.py", "/static/..%2froutes.py"])
def test_only_the_pages_own_files_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_door_to_other_machines_takes_addresses_and_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.socket, "gethostname", lambda: "Studio")
    door = Door("0.0.0.0", PORT)
    assert not door.local and Door("127.0.0.1", PORT).local and Door("::1", PORT).local
    client = TestClient(Guard(application(desk, door), door), base_url=f"http://192.168.1.5:{PORT}")
    client.cookies.set(door.cookie, door.session)
    for host, status in ((f"192.168.1.5:{PORT}", 200), (f"studio:{PORT}", 200), (f"evil.example:{PORT}", 421)):
        assert client.get("/api/start", headers={"host": host}).status_code == status
    assert not Door("127.0.0.1", PORT).is_host(f"192.168.1.5:{PORT}")


def test_web_sockets_are_not_spoken(client: TestClient) -> None:
    with pytest.raises(Exception), client.websocket_connect("/api/start"):  # noqa: B017
        pass
