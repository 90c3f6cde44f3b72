"""What a worker's settings may say about models."""

import subprocess
import sys

import pytest

from agon.backends import BackendSpec, load
from agon.backends.scripted import ScriptedBackend
from agon.backends.upstream import UpstreamBackend
from agon.errors import SetupError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("tiny=./models/tiny", BackendSpec("tiny", "engine", "./models/tiny")),
        ("meta/llama=meta/llama-1b", BackendSpec("meta/llama", "engine", "meta/llama-1b")),
        ("a=C:/models/a", BackendSpec("a", "engine", "C:/models/a")),
        ("t=./adapter,adapter-of=tiny", BackendSpec("t", "engine", "./adapter", {"adapter-of": "tiny"})),
        ("demo=scripted:", BackendSpec("demo", "scripted", "")),
        (
            r"demo=scripted:text=Hello\, you = me,delay=0.01",
            BackendSpec("demo", "scripted", "", {"text": "Hello, you = me", "delay": "0.01"}),
        ),
        ("gpt=upstream:http://h:1/v1", BackendSpec("gpt", "upstream", "http://h:1/v1")),
        ("gpt=upstream:https://h/v1#o/x", BackendSpec("gpt", "upstream", "https://h/v1", {"name": "o/x"})),
        (
            "gpt=upstream:https://h/v1#o/x,timeout=5",
            BackendSpec("gpt", "upstream", "https://h/v1", {"name": "o/x", "timeout": "5"}),
        ),
        ("gpt=upstream:https://h/v1,timeout=5", BackendSpec("gpt", "upstream", "https://h/v1", {"timeout": "5"})),
    ],
)
def test_a_model_is_spelled_as_name_and_source(text: str, spec: BackendSpec) -> None:
    assert BackendSpec.parse(text) == spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tiny", "no MODEL=SOURCE"),
        ("tiny=", "no MODEL=SOURCE"),
        ("=path", "its name"),
        ("a b=path", "its name"),
        ("m=scripted:hello", "no OPTION=VALUE"),
        ("m=scripted:delay=1,delay=2", "given twice"),
        ("m=upstream:host:80", "needs a URL"),
        ("m=./adapter,base=tiny", "no option base"),
        ("m=./adapter,adapter-of=tiny,dtype=int8", "dtype of its base"),
    ],
)
def test_a_wrong_spelling_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        BackendSpec.parse(text)


@pytest.mark.parametrize("text", ["m=scripted:speed=1", "m=scripted:delay=-1", "m=upstream:http://h#x,colour=red"])
def test_a_wrong_option_is_named(text: str) -> None:
    with pytest.raises(SetupError, match=r"speed|delay|colour"):
        load(BackendSpec.parse(text))


def test_each_kind_is_made() -> None:
    assert isinstance(load(BackendSpec.parse("m=scripted:")), ScriptedBackend)
    assert isinstance(load(BackendSpec.parse("m=upstream:http://127.0.0.1:1/v1")), UpstreamBackend)
    with pytest.raises(SetupError, match="there is no folder"):
        load(BackendSpec.parse("m=/no/such/folder"))


def test_a_named_key_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    with pytest.raises(SetupError, match="THEIR_KEY, which is not set"):
        load(BackendSpec.parse("m=upstream:http://h/v1,key_env=THEIR_KEY"))


def test_scripts_and_upstreams_do_without_torch() -> None:
    code = (
        "import sys; from agon.backends import BackendSpec, load; load(BackendSpec.parse('m=scripted:'));"
        "load(BackendSpec.parse('m=upstream:http://h/v1')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
