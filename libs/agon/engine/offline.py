"""Answers to a list of prompts, all at once and in order, with a bar on the terminal."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from agon.engine.answers import Answer, answer_of
from agon.engine.events import Event, Failed, Finished, Tokens
from agon.engine.params import Prompt, Request
from agon.engine.sampling import SamplingParams
from agon.errors import InvalidRequest


class _Stepped(Protocol):
    @property
    def busy(self) -> bool: ...

    def submit(self, request: Request) -> None: ...

    def cancel(self, key: str) -> None: ...

    def step(self) -> list[Event]: ...


def generate(
    engine: _Stepped,
    prompts: Sequence[Prompt],
    params: SamplingParams | Sequence[SamplingParams] | None,
    *,
    progress: bool,
) -> list[Answer]:
    """See `Engine.generate`. Left early, by Ctrl-C for one, it leaves nothing in the engine."""
    each = list(params) if isinstance(params, Sequence) else [params or SamplingParams()] * len(prompts)
    if len(each) != len(prompts):
        raise InvalidRequest(f"{len(prompts)} prompts and {len(each)} sampling parameters: give one, or one for each")
    told: dict[str, list[Event]] = {str(index): [] for index in range(len(prompts))}
    bar = _Bar(len(prompts), shown=progress)
    try:
        for key, prompt, wanted in zip(told, prompts, each, strict=True):
            engine.submit(Request(key, prompt, wanted))
        with bar:
            while engine.busy:
                events = engine.step()
                for event in events:
                    told[event.key].append(event)
                bar.advance(events)
    finally:
        if engine.busy:
            for key in told:
                engine.cancel(key)
            while engine.busy:
                engine.step()
    return [answer_of(events, wanted.n) for events, wanted in zip(told.values(), each, strict=True)]


class _Bar:
    """Requests that have ended, and the tokens so far. Nothing at all where nobody would see it."""

    def __init__(self, total: int, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("requests"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[tokens]} tokens"),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._progress.add_task("requests", total=total, tokens=0)
        self._tokens = 0

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, events: Iterable[Event]) -> None:
        ended = 0
        for event in events:
            if isinstance(event, Tokens):
                self._tokens += len(event.token_ids)
            ended += isinstance(event, (Finished, Failed))
        self._progress.update(self._task, advance=ended, tokens=self._tokens)
