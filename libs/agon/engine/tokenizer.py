"""Text to tokens and back: a thin layer over a transformers fast tokenizer."""

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from agon.engine.params import Conversation, Prompt, characters
from agon.engine.turns import room_for_prompt, without_oldest
from agon.errors import ContextTooLong, InvalidRequest, SetupError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁"  # SentencePiece writes a space like this


def _byte_alphabet() -> dict[str, int]:
    """The printable characters that stand for the 256 bytes in byte-level BPE (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Tokenizer:
    """Encodes prompts and gives each token's bytes. Any thread may do either: neither changes the backend."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises `SetupError` for a tokenizer whose tokens are no byte strings (not byte-level, not byte-fallback)."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise SetupError("the model has no fast tokenizer (tokenizer.json); convert it with transformers first")
        self.hf = tokenizer
        self._backend = backend
        kinds = _decoder_kinds(backend)
        if "ByteLevel" in kinds:
            self._alphabet: dict[str, int] | None = _byte_alphabet()
        elif "ByteFallback" in kinds:
            self._alphabet = None
        else:
            raise SetupError(
                f"the model's tokenizer decodes by {', '.join(sorted(kinds)) or 'nothing'}; "
                "only byte-level and byte-fallback tokenizers are served"
            )
        self._added = {token_id: str(token) for token_id, token in tokenizer.added_tokens_decoder.items()}
        self._special = set(tokenizer.all_special_ids) | {
            token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self._bytes: dict[int, bytes] = {}
        self._longest = max((len(token) for token in tokenizer.get_vocab()), default=1)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Tokenizer":
        """Read a transformers folder. Raises `SetupError` when there is no tokenizer that can be used."""
        from transformers import AutoTokenizer

        try:
            hf = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise SetupError(f"the tokenizer of {folder} cannot be read: {_first_line(error)}") from error
        return cls(hf)

    @property
    def eos_ids(self) -> frozenset[int]:
        eos = self.hf.eos_token_id
        return frozenset() if eos is None else frozenset({int(eos)})

    @property
    def size(self) -> int:
        """Tokens, the added ones included. A model may have room for more."""
        return len(self.hf)

    def serialised(self) -> str:
        """As `tokenizer.json` has it, without padding and truncation."""
        backend = copy(self._backend)
        backend.no_padding()
        backend.no_truncation()
        return str(backend.to_str())

    def encode(self, prompt: Prompt, room: int) -> list[int]:
        """The prompt's token ids. A chat is rendered by the model's template (jinja's sandbox), and control tokens
        that a message spells out stay plain text; in raw text they are control tokens, as in `transformers`.

        Raises `InvalidRequest` for what cannot be encoded, `ContextTooLong` for text that cannot fit `room` tokens
        however it is cut.
        """
        if isinstance(prompt, str):
            self._check_length({"prompt": prompt}, room)
            return list(self.hf.encode(prompt))
        if isinstance(prompt, Conversation):
            chat = self._shortened(prompt, room) if prompt.truncate else prompt
        else:
            if len(prompt) > room and isinstance(prompt[0], int):
                raise too_long(len(prompt), room, "prompt")
            tokens = [token for token in prompt if isinstance(token, int)]
            if tokens and len(tokens) == len(prompt):
                return tokens
            messages = [message for message in prompt if isinstance(message, Mapping)]
            if not messages or len(messages) < len(prompt):
                raise InvalidRequest("a prompt is text, token ids or chat messages, and not empty", param="prompt")
            chat = Conversation(messages)
        if not all(_is_message(message) for message in chat.messages):
            raise InvalidRequest("each message needs `role` and `content`, both text", param="messages")
        self._check_length(
            {"messages": chat.messages, "tools": chat.tools, "chat_template_kwargs": chat.template_kwargs}, room
        )
        return self._encode_chat(chat)

    def _shortened(self, chat: Conversation, room: int) -> Conversation:
        """The conversation with as many of its newest turns as fit."""
        most = room_for_prompt(room, chat.spare)

        def fits(messages: Sequence[Mapping[str, Any]]) -> bool:
            try:
                return len(self.encode(replace(chat, messages=messages, truncate=False), room)) <= most
            except ContextTooLong:
                return False

        messages = without_oldest(chat.messages, lambda message: str(message.get("role")), fits)
        return replace(chat, messages=messages)

    def _check_length(self, texts: Mapping[str, Any], room: int) -> None:
        """Refuse what cannot fit however it is cut, before it is: cutting megabytes takes seconds."""
        sizes = {param: characters(text) for param, text in texts.items()}
        if sum(sizes.values()) > room * self._longest:
            raise ContextTooLong(
                f"{sum(sizes.values())} characters cannot fit the model's context of {room} tokens; shorten the input",
                param=max(sizes, key=lambda param: sizes[param]),
            )

    def _encode_chat(self, chat: Conversation) -> list[int]:
        if not self.hf.chat_template:
            raise InvalidRequest("this model has no chat template; send a plain prompt", param="messages")
        tools = [dict(tool) for tool in chat.tools] or None
        try:
            if tools and "tools" not in self.hf.get_chat_template(None, tools):
                raise InvalidRequest("this model's chat template knows no tools", param="tools")
            ids = self.hf.apply_chat_template(
                [dict(message) for message in chat.messages],
                tools=tools,
                **_template_kwargs(chat),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                sanitize_control_tokens=True,
            )
        except TemplateError as error:
            raise InvalidRequest(
                f"the model's chat template refuses these messages: {_first_line(error)}", param="messages"
            ) from error
        except ValueError as error:
            raise InvalidRequest(f"the messages cannot be encoded: {_first_line(error)}", param="messages") from error
        return list(ids)

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to the text: nothing for special tokens and for ids that the vocabulary lacks."""
        data = self._bytes.get(token_id)
        if data is None:
            data = self._bytes[token_id] = self._make_bytes(token_id)
        return data

    def label(self, token_id: int) -> tuple[str, bytes | None]:
        """A token as people read it, and the bytes that it adds to the text; None where it adds none."""
        data = self.token_bytes(token_id)
        if data:
            return data.decode("utf-8", "replace"), data
        return str(self._added.get(token_id) or self._backend.id_to_token(token_id) or ""), None

    def _make_bytes(self, token_id: int) -> bytes:
        if token_id in self._special:
            return b""
        if token_id in self._added:
            return self._added[token_id].encode()
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b""
        if self._alphabet is not None:
            if all(character in self._alphabet for character in token):
                return bytes(self._alphabet[character] for character in token)
            return str(token).encode()
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        return str(token).replace(_SPACE, " ").encode()


# What `apply_chat_template` takes itself, and a caller has no say in.
_OURS = frozenset(
    {
        "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
        "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens",
        "tokenize", "tokenizer_kwargs", "tools", "truncation",
    }
)  # fmt: skip


def _template_kwargs(chat: Conversation) -> dict[str, Any]:
    if taken := sorted(_OURS & chat.template_kwargs.keys()):
        what = f"{', '.join(taken)} is no variable of a chat template that a request may set"
        raise InvalidRequest(what, param="chat_template_kwargs")
    return dict(chat.template_kwargs)


def too_long(tokens: int, room: int, param: str) -> ContextTooLong:
    """The refusal of a prompt that leaves no room for an answer."""
    return ContextTooLong(
        f"the prompt has {tokens} tokens, the model's context is {room} with the answer; shorten the prompt",
        param=param,
    )


def _is_message(message: Mapping[str, Any]) -> bool:
    """Whether a template can be given this: a role, and text unless it calls tools."""
    content = message.get("content")
    said = isinstance(content, str) or (content is None and bool(message.get("tool_calls")))
    return said and isinstance(message.get("role"), str)


def _decoder_kinds(backend: Any) -> set[str]:
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    return {decoder.get("type", "")} | {part["type"] for part in decoder.get("decoders", ())} - {""}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
