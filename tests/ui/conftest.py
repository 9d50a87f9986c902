"""Fixtures of the page's tests: a desk with backends that need no model, a browser that was let in, a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fake_backends
import pytest
from served import FAKE, ORIGIN, PLACES, PORT, Page
from starlette.testclient import TestClient

from gas.backends.registry import Registry
from gas_ui.desk import Desk
from gas_ui.guard import Door, Guard
from gas_ui.routes import application


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The server's desk, with backends that need no model beside the toolkit's own."""
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def door() -> Door:
    return Door("127.0.0.1", PORT)


@pytest.fixture
def client(desk: Desk, door: Door) -> TestClient:
    """A browser that was let in."""
    client = TestClient(Guard(application(desk, door), door), base_url=ORIGIN, headers={"origin": ORIGIN})
    client.cookies.set(door.cookie, door.session)
    return client


@pytest.fixture
def page(client: TestClient, desk: Desk) -> Page:
    """A window with backends that need no model."""
    page = Page(client, desk)
    assert page.put("/flags", {**FAKE, "options": {"places": PLACES}}).status_code == 200
    return page
