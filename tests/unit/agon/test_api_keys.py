"""What a key is, what the server keeps of it, and what it may do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agon.api_keys import ApiKey, Limits, endpoint_of, id_of, keyed_hash, mint, remint
from agon.errors import Forbidden

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "of the server"
KEY_ID, TEXT = mint()
KEY = ApiKey(KEY_ID, "team", "laptop", keyed_hash(SECRET, TEXT), AT)


def test_a_key_has_an_id_and_256_random_bits() -> None:
    texts = {mint()[1] for _ in range(100)}
    assert len(texts) == 100
    for text in texts:
        key_id = id_of(text)
        assert key_id is not None
        assert len(text.removeprefix(f"sk-agon-{key_id}_")) == 43  # 6 bits each: 258


@pytest.mark.parametrize(
    "text",
    ["", "none", "sk-agon-", "sk-" + "x" * 48, TEXT + "x", TEXT[:-1], f" {TEXT}", TEXT + "\n"],
    # A key is random, and names of tests must be the same in every process.
    ids=["empty", "a word", "a beginning", "another's form", "longer", "shorter", "a space first", "a newline last"],
)
def test_what_has_not_the_form_of_a_key_has_no_id(text: str) -> None:
    assert id_of(text) is None


def test_only_the_whole_text_under_the_same_server_secret_opens() -> None:
    assert KEY.opens(keyed_hash(SECRET, TEXT), AT)
    assert not KEY.opens(keyed_hash("another", TEXT), AT)
    assert not KEY.opens(keyed_hash(SECRET, remint(KEY_ID)), AT)
    assert not KEY.opens(bytes(32), AT)


def test_neither_the_text_nor_the_hash_is_shown_where_a_key_is_printed() -> None:
    assert TEXT[26:] not in repr(KEY)
    assert "hash" not in repr(KEY)


def test_a_key_ends_when_it_expires_and_when_it_is_revoked() -> None:
    given = keyed_hash(SECRET, TEXT)
    ends = replace(KEY, expires_at=AT)
    assert ends.opens(given, AT - timedelta(seconds=1))
    assert not ends.opens(given, AT)
    assert ends.state(AT) == "expired"
    gone = replace(KEY, revoked_at=AT)
    assert not gone.opens(given, AT)
    assert gone.state(AT) == "revoked"


def test_after_a_rotation_both_texts_open_for_a_while_and_then_the_new_one_alone() -> None:
    text = remint(KEY_ID)
    turned = replace(KEY, hash=keyed_hash(SECRET, text), previous_hash=KEY.hash, previous_until=AT)
    before, after = AT - timedelta(seconds=1), AT
    assert [turned.opens(keyed_hash(SECRET, each), before) for each in (TEXT, text)] == [True, True]
    assert [turned.opens(keyed_hash(SECRET, each), after) for each in (TEXT, text)] == [False, True]
    assert not replace(turned, revoked_at=AT).opens(keyed_hash(SECRET, TEXT), before)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/completions", "completions"),
        ("/v1/models/org/model", "models"),
        ("/v1/files/f-1/content", "files"),
        ("/arena/battles/b/vote", "arena"),
        ("/", ""),
    ],
)
def test_a_path_has_one_name_in_scopes(path: str, name: str) -> None:
    assert endpoint_of(path) == name


def test_a_key_with_scopes_is_for_those_alone() -> None:
    narrow = replace(KEY, endpoints=frozenset({"chat"}), models=frozenset({"a/b"}))
    narrow.check_endpoint("/v1/chat/completions")
    narrow.check_model("a/b")
    with pytest.raises(Forbidden) as caught:
        narrow.check_endpoint("/v1/models")
    assert caught.value.code == "missing_scope"
    with pytest.raises(Forbidden) as caught:
        narrow.check_model("a")
    assert caught.value.body() | {"message": ""} == {
        "message": "", "type": "permission_error", "param": "model", "code": "model_not_found"
    }  # fmt: skip
    KEY.check_endpoint("/whatever")
    KEY.check_model("whatever")


def test_no_limit_is_no_limits() -> None:
    assert not Limits().any
    assert Limits(concurrency=1).any
