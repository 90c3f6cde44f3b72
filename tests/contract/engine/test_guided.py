"""Answers that have a form: complete when they say `stop`, a beginning when they say `length`, whatever happens."""

import json
import re
import threading
import time
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agon.engine import Engine, Guide, SamplingParams
from agon.engine.detokenize import TextStream
from agon.engine.events import Admitted, Failed, Tokens
from agon.engine.grammars import Grammar, Grammars
from agon.engine.guided import Matcher
from agon.engine.params import Request
from agon.errors import Cancelled, Expired, InvalidRequest
from contract.engine.tiny import VOCABULARY, drain, make_engine, prompts_of, run, told_text, told_tokens

PROMPT = prompts_of([9])[0]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer"},
        "ok": {"enum": ["yes", "no"]},
    },
    "required": ["name", "age", "ok"],
    "additionalProperties": False,
}


@cache
def engine() -> Engine:
    return make_engine(max_sequences=8, page_size=4)


names = st.sampled_from(["a", "name", "größe", "x y", "🌱"])
leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(0, 50).map(lambda least: {"type": "integer", "minimum": least, "maximum": least + 40}),
    st.integers(0, 6).map(lambda most: {"type": "string", "maxLength": most}),
    st.lists(st.sampled_from(["red", "größer", 'a "b"', 3, None, True]), min_size=1, unique=True).map(
        lambda values: {"enum": values}
    ),
    st.just({"type": "string", "pattern": "^[a-c]{1,4}$"}),
)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    def larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        objects = st.dictionaries(names, inner, max_size=3).flatmap(
            lambda properties: st.sets(st.sampled_from(sorted(properties) or ["none"])).map(
                lambda required: {
                    "type": "object", "properties": properties, "additionalProperties": False,
                    "required": sorted(required & properties.keys()),
                }
            )
        )  # fmt: skip
        arrays = inner.map(lambda items: {"type": "array", "items": items, "maxItems": 2})
        return st.one_of(objects, arrays, st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": some}))

    return st.recursive(leaves, larger, max_leaves=5)


@settings(max_examples=40, print_blob=True)
@given(st.lists(schemas(), min_size=1, max_size=4), st.integers(0, 1000))
def test_whatever_the_schema_the_answer_is_valid_or_a_beginning(some: list[dict[str, Any]], seed: int) -> None:
    params = [SamplingParams(guide=Guide.json_schema(schema), seed=seed, max_tokens=40) for schema in some]
    for schema, params_, answer in zip(some, params, engine().generate([PROMPT] * len(some), params), strict=True):
        if answer.finish_reason == "stop":
            Draft202012Validator(schema).validate(json.loads(answer.text))
        else:
            assert (answer.finish_reason, len(answer.token_ids)) == ("length", 40)
            assert is_a_beginning(params_, answer.token_ids), answer.text


def matcher_of(guide: Guide) -> Matcher:
    grammars = Grammars(engine().tokenizer, VOCABULARY)
    return grammars.matcher(grammars.begin(guide), frozenset())


def is_a_beginning(params: SamplingParams, tokens: list[int]) -> bool:
    assert params.guide is not None
    matcher = matcher_of(params.guide)
    for token in tokens:
        matcher.push(token)  # raises for one that does not fit
    return not matcher.finished


@pytest.mark.parametrize(
    ("guide", "fits"),
    [
        (Guide.regex("[a-c]{3,5}"), lambda text: re.fullmatch("[a-c]{3,5}", text)),
        (Guide.choice("größer", "no", "nope", "東京"), lambda text: text in ("größer", "no", "nope", "東京")),
        (Guide.json_schema(PERSON), lambda text: Draft202012Validator(PERSON).is_valid(json.loads(text))),
        (Guide.grammar('start: "(" NUMBER ("+" NUMBER){1,2} ")"\nNUMBER: /[1-9][0-9]?/'), lambda text: eval(text) > 0),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_kind_of_guide_is_followed_by_every_choice(guide: Guide, fits: Any) -> None:
    params = SamplingParams(guide=guide, seed=5, n=4, max_tokens=120, temperature=1.5)
    for choice in engine().generate([PROMPT], params)[0].choices:
        assert choice.finish_reason == "stop", choice.text
        assert fits(choice.text), choice.text


def test_any_json_object_will_do() -> None:
    params = SamplingParams(guide=Guide.json_object(), temperature=0, max_tokens=60, logit_bias={ord_of("}"): 100})
    answer = engine().generate([PROMPT], params)[0]
    assert (answer.finish_reason, json.loads(answer.text)) == ("stop", {})


def ord_of(text: str) -> int:
    return int(engine().tokenizer.hf.convert_tokens_to_ids(text))


def test_no_end_comes_before_the_grammar_may_end_and_none_is_needed_when_it_must() -> None:
    eager = SamplingParams(guide=Guide.regex("[ab]{4,6}"), logit_bias={2: 100.0, 5: 100.0}, stop_token_ids=(5,), seed=1)
    answer = engine().generate([PROMPT], eager)[0]
    assert (answer.finish_reason, len(answer.text)) == ("stop", 4)
    assert answer.token_ids[-1] in (2, 5)
    endless = SamplingParams(guide=Guide.regex("[ab]{4,6}"), ignore_eos=True, seed=1)
    assert len(engine().generate([PROMPT], endless)[0].text) == 6
    waiting = SamplingParams(guide=Guide.regex("[a-b]{2,6}"), logit_bias={2: 100.0}, min_tokens=5, seed=1)
    answer = engine().generate([PROMPT], waiting)[0]
    assert len(answer.token_ids) >= 5 or len(answer.text) == 6


def test_a_stop_string_ends_an_answer_only_where_it_is_complete() -> None:
    guide = Guide.regex("(ab|c)+;d+")
    for seed in range(4):
        free = engine().generate([PROMPT], SamplingParams(guide=guide, seed=seed, max_tokens=30))[0]
        told = engine().generate([PROMPT], SamplingParams(guide=guide, seed=seed, max_tokens=30, stop=("b", "dd")))[0]
        if "dd" in free.text[free.text.index(";") + 2 :]:
            assert (told.text, told.finish_reason) == (free.text[: free.text.index(";") + 2], "stop")
        else:
            assert told.text == free.text


def test_a_stop_string_that_comes_again_and_again_is_not_looked_for_in_the_whole_answer_each_time() -> None:
    matcher = matcher_of(Guide.regex("[ab]{9,}c"))
    view, read = matcher._tokenizer, 0

    class Counting:
        def greedy_tokenize(self, text: str) -> list[int]:
            nonlocal read
            read += len(text)
            return list(view.greedy_tokenize(text))

    matcher._tokenizer = Counting()
    stream = TextStream(["b"], matcher.accepts)
    assert "".join(stream.push(character) for character in (b"a", b"b") * 500) == "ab" * 500
    assert stream.push(b"cb") == "c"
    assert stream.stopped
    assert read < 2500, "the work grows with the answer"


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(guide=Guide.json_schema(PERSON), seed=3, max_tokens=60, logprobs=1),
        SamplingParams(guide=Guide.regex("([a-z]{2,4} ){3,6}end"), seed=3, max_tokens=60, stop=("x", "zz")),
    ],
    ids=["schema", "stop strings"],
)
def test_a_guided_answer_is_resumed_from_every_cut(params: SamplingParams) -> None:
    whole = [event for event in run(engine(), Request("r", PROMPT, params))["r"] if isinstance(event, Tokens)]
    for cut in range(0, len(whole), 3):
        emitted = (tuple(told_tokens(whole[:cut])),)
        resumed = run(make_engine(), Request("r", PROMPT, params, emitted=emitted))["r"]
        told = [event for event in resumed if isinstance(event, Tokens)]
        assert told_tokens(told) == told_tokens(whole[cut:])
        assert told_text(whole[:cut]) + told_text(told) == told_text(whole)
        assert told[-1].finish_reason == whole[-1].finish_reason
        assert [len(event.logprobs or ()) for event in told] == [1 if params.logprobs else 0] * len(told)


def test_guided_answers_do_not_depend_on_preemption_or_company() -> None:
    params = [
        SamplingParams(guide=Guide.json_schema(PERSON), seed=i, max_tokens=40, n=1 + i % 2) if i % 3 else
        SamplingParams(seed=i, max_tokens=40, ignore_eos=True)
        for i in range(5)
    ]  # fmt: skip
    prompts = prompts_of([12, 9, 15, 7, 11], seed=2)
    small = make_engine(page_size=4, max_sequences=4, max_batch_tokens=16, kv_cache_bytes=60_000)
    together = small.generate(prompts, params)
    assert small.scheduler.preemptions > 0
    alone = [engine().generate([prompt], one)[0] for prompt, one in zip(prompts, params, strict=True)]
    assert [[c.token_ids for c in a.choices] for a in together] == [[c.token_ids for c in a.choices] for a in alone]


def error_of(guide: Guide) -> InvalidRequest:
    events = run(engine(), Request("r", PROMPT, SamplingParams(guide=guide)))["r"]
    (failed,) = events
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidRequest)
    assert failed.error.param == "response_format"
    return failed.error


@pytest.mark.parametrize(
    ("guide", "says"),
    [
        (
            Guide.json_schema({"type": "object", "properties": {"a": {"items": {"type": "string", "format": "nope"}}}}),
            "at #/properties/a/items: Unknown format",
        ),
        (Guide.json_schema({"$defs": {"b": {"type": "strin"}}, "anyOf": [{"$ref": "#/$defs/b"}]}), "#/"),
        (Guide.json_schema({"uniqueItems": True, "type": "array"}), "at #: Unimplemented"),
        (Guide.json_schema(False), "cannot be followed"),
        (Guide.regex("(?=a)b"), "look-around"),
        (Guide.regex(""), "no text at all"),
        (Guide.grammar("start: x"), "unknown name"),
        (Guide.regex("a" * 70_000), "at most"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_place_and_the_reason(guide: Guide, says: str) -> None:
    for _ in range(2):  # also from the cache
        assert says in error_of(guide).message


def test_a_grammar_is_compiled_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.engine.grammars._MOST_KEPT", 2)
    grammars = Grammars(engine().tokenizer, VOCABULARY)
    one, two, three = (Guide.choice(text) for text in ("one", "two", "three"))
    for guide in (one, two, one, three, one, two):
        grammars.matcher(grammars.begin(guide), frozenset())
    assert (grammars.counts.asked, grammars.counts.compiled, grammars.kept) == (6, 4, 2)


def test_more_grammars_may_be_waited_for_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.engine.grammars._MOST_KEPT", 2)
    busy = make_engine()
    words = ["red", "green", "blue", "black", "white"]
    for word in words:
        busy.submit(Request(word, PROMPT, SamplingParams(guide=Guide.choice(word), max_tokens=20)))
    told = drain(busy)
    assert [told_text(told[word]) for word in words] == words
    assert busy.grammars.counts.compiled == len(words), "whoever waits for one holds it"
    assert busy.grammars.kept <= len(words)


def test_a_grammar_that_is_compiled_at_once_is_kept_while_older_ones_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agon.engine.grammars._MOST_KEPT", 2)
    grammars = Grammars(engine().tokenizer, VOCABULARY)
    for word in ("red", "green"):
        grammars._kept[Guide.choice(word)] = Grammar(Guide.choice(word))  # whose turn has not come
    monkeypatch.setattr(grammars._pool, "submit", lambda compile_, grammar: compile_(grammar))
    blue = grammars.begin(Guide.choice("blue"))
    assert blue.ready
    assert grammars.begin(Guide.choice("blue")) is blue
    assert grammars.kept == 3, "none of which was ready when one more came"


def test_a_grammar_that_takes_its_time_holds_up_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    grammars = Grammars(engine().tokenizer, VOCABULARY)
    compile_, enough = grammars._start_of, threading.Event()

    def start_of(guide: Guide, view: Any) -> Any:
        assert guide.source != "slow" or enough.wait(60)
        return compile_(guide, view)

    monkeypatch.setattr(grammars, "_start_of", start_of)
    slow = grammars.begin(Guide.regex("slow"))
    try:
        for word in ("one", "two", "three"):
            grammars.matcher(grammars.begin(Guide.choice(word)), frozenset())
        assert not slow.start.done()
    finally:
        enough.set()


def test_a_grammar_has_had_its_time_only_when_the_process_could_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Grammar(Guide.choice("yes"), began=(0.0, 0.0))
    for clocks, ready in (((100.0, 0.1), False), ((1.0, 100.0), False), ((3.1, 3.1), True)):
        monkeypatch.setattr("agon.engine.grammars._clocks", lambda clocks=clocks: clocks)
        assert begun.ready is ready, "it was stopped meanwhile, or has many threads"


def test_a_compiler_that_panics_refuses_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def panics(guide: Guide, view: Any) -> Any:
        raise Panic("no such state")

    grammars = Grammars(engine().tokenizer, VOCABULARY)
    monkeypatch.setattr(grammars, "_start_of", panics)
    with pytest.raises(InvalidRequest, match="cannot be prepared: no such state"):
        grammars.matcher(grammars.begin(Guide.choice("yes")), frozenset())


def test_of_many_grammars_that_are_ready_at_once_a_step_takes_only_some(monkeypatch: pytest.MonkeyPatch) -> None:
    crowded = make_engine()
    ready = Grammar.ready
    monkeypatch.setattr(Grammar, "ready", False)
    params = SamplingParams(guide=Guide.choice("yes"), max_tokens=5)
    for index in range(80):
        crowded.submit(Request(str(index), PROMPT, params))
    assert crowded.step() == []
    monkeypatch.setattr(Grammar, "ready", ready)
    admitted = [0]
    while crowded.busy:
        admitted.append(sum(isinstance(event, Admitted) for event in crowded.step()))
    assert sum(admitted) == 80
    assert max(admitted) == 32


def test_a_guide_that_is_too_long_is_not_kept() -> None:
    grammars = Grammars(engine().tokenizer, VOCABULARY)
    long = Guide.regex("a" * 70_000)
    assert grammars.begin(long).ready
    with pytest.raises(InvalidRequest, match="at most"):
        grammars.matcher(grammars.begin(long), frozenset())
    assert (grammars.kept, grammars.counts.refused) == (0, 1)


def test_a_deadline_passes_also_while_a_grammar_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = make_engine()
    monkeypatch.setattr(Grammar, "ready", False)
    params = SamplingParams(guide=Guide.choice("yes"), max_tokens=5)
    slow.submit(Request("late", PROMPT, params, deadline=time.time() - 1))
    [failed] = drain(slow)["late"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Expired)


def test_a_request_waits_for_its_grammar_while_others_go_on_and_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = make_engine()
    monkeypatch.setattr(Grammar, "ready", False)
    slow.submit(Request("guided", PROMPT, SamplingParams(guide=Guide.choice("yes"), max_tokens=5)))
    slow.submit(Request("free", PROMPT, SamplingParams(max_tokens=3, ignore_eos=True, seed=1)))
    told = [event for _ in range(6) for event in slow.step()]
    assert {event.key for event in told} == {"free"}
    assert slow.busy
    slow.cancel("guided")
    (failed,) = drain(slow)["guided"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Cancelled)
