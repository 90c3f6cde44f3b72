"""Who may ask: with keys, without any, and while nobody knows."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi.routing import APIRoute

from agon.api_keys import ENDPOINTS, ApiKey, endpoint_of, keyed_hash, mint, remint
from agon.errors import Forbidden, Unauthorized, Unavailable
from agon.messages import now
from agon_ingress.access.callers import FOR_ALL
from agon_ingress.access.keyring import Keyring
from agon_ingress.app import ROUTERS
from unit.agon_ingress.offline import BODIES, offline, post

SECRET = "of the server"
PATH = "/v1/chat/completions"


def key(**fields: Any) -> tuple[ApiKey, bytes]:
    """A key and the header that it comes with."""
    key_id, text = mint()
    made = ApiKey(key_id, "team", "laptop", keyed_hash(SECRET, text), now())
    return replace(made, **fields), f"Bearer {text}".encode()


def keyring(*keys: ApiKey, open_without: bool = True, patience: float = 5, secret: str = SECRET) -> Keyring:
    made = Keyring(None, secret, open_without, timedelta(seconds=patience))
    made.learn(keys)
    return made


def test_without_a_key_everybody_may_ask_where_that_is_open() -> None:
    for header in (None, b"Bearer none", b"Bearer sk-whatever"):
        assert keyring().caller(header, PATH).tenant == "default"


def test_without_a_key_nobody_may_ask_where_that_is_closed() -> None:
    with pytest.raises(Unauthorized, match="agon keys create"):
        keyring(open_without=False).caller(None, PATH)


def test_before_the_keys_were_read_nobody_may_ask() -> None:
    with pytest.raises(Unavailable):
        Keyring(None, SECRET, open_without=True, patience=timedelta(seconds=5)).caller(None, PATH)


@pytest.mark.parametrize(
    "header",
    [
        *(None, b"", b"Bearer", b"Bearer ", b"Bearer none", b"Basic eDp5", b"\xff\xfe"),
        b"Bearer " + remint("0" * 16).encode(),
    ],
    ids=["none", "empty", "no token", "no token but a space", "a word", "another scheme", "no text", "a wrong key"],
)
def test_with_a_key_it_is_closed_to_all_who_have_none(header: bytes | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        keyring(key()[0]).caller(header, PATH)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_what_goes_on_without_its_client_ends_with_the_key_that_asked_for_it() -> None:
    good, revoked = key()[0], key(revoked_at=now())[0]
    assert keyring(good, revoked).owner("team", good.key_id).key == good
    assert keyring(good).owner("team", None).key is None
    for key_id in (revoked.key_id, "0" * 16):
        with pytest.raises(Unauthorized):
            keyring(good, revoked).owner("team", key_id)


def test_a_key_tells_whose_the_request_is() -> None:
    made, header = key()
    caller = keyring(made).caller(header.replace(b"Bearer", b"bearer"), PATH)
    assert (caller.tenant, caller.key) == ("team", made)


def test_ending_the_last_key_opens_nothing() -> None:
    made, header = key(revoked_at=now())
    for given in (header, None):
        with pytest.raises(Unauthorized):
            keyring(made).caller(given, PATH)


def test_a_key_is_for_its_endpoints_alone() -> None:
    made, header = key(endpoints=frozenset({"embeddings"}))
    keyring(made).caller(header, "/v1/embeddings")
    with pytest.raises(Forbidden):
        keyring(made).caller(header, PATH)


def test_keys_that_may_have_been_revoked_meanwhile_are_not_taken() -> None:
    made, header = key()
    with pytest.raises(Unavailable, match="Postgres"):
        keyring(made, patience=0).caller(header, PATH)


def test_without_the_server_s_secret_no_key_is_taken() -> None:
    made, header = key()
    forged = replace(made, hash=keyed_hash("", header.removeprefix(b"Bearer ").decode()))
    with pytest.raises(Unauthorized):
        keyring(forged, secret="").caller(header, PATH)


def test_what_a_key_has_spent_never_goes_back() -> None:
    made, _ = key(spent_tokens=5)
    ring = keyring(made)
    ring.note_spent(made, 9)
    ring.note_spent(made, 7)
    assert ring.spent(made) == 9
    ring.learn([made])
    assert ring.spent(made) == 9


async def test_the_door_asks_before_a_path_is_looked_up_or_a_body_read() -> None:
    app = offline()
    made, header = key(models=frozenset({"text"}))
    app.state.house.keyring = keyring(made)
    for path in (*BODIES, "/v1/nothing", "/arena/battles", "/v1/fine_tuning/jobs"):
        told = await post(app, path, b"{")
        assert (told.status, told.error["code"], told.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    told = await post(app, PATH, BODIES[PATH][0], authorization=header.decode())
    assert (told.status, told.error["code"], told.error["param"]) == (403, "model_not_found", "model")
    told = await post(app, PATH, BODIES[PATH][0] | {"model": "text"}, authorization=header.decode())
    assert told.status == 503  # as far as it can get without Kafka


async def test_an_arena_that_is_public_asks_no_voter_for_a_key() -> None:
    app = offline(public_arena=True)
    app.state.house.keyring = keyring(key()[0])
    assert (await post(app, "/arena/battles", b"{")).status == 400
    assert (await post(app, "/arena/battles", b"{", authorization="Bearer wrong")).status == 401
    assert (await post(app, PATH, b"{")).status == 401


def test_a_key_can_be_for_every_place_that_asks_for_one_and_for_no_other() -> None:
    paths = {route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)}
    assert {endpoint_of(path) for path in paths - FOR_ALL} == ENDPOINTS
