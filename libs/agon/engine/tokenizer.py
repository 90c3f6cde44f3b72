"""Text to tokens and back: a thin layer over a transformers fast tokenizer."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from agon.engine.params import Chat, Prompt
from agon.errors import ContextTooLong, InvalidRequest, SetupError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁"  # SentencePiece writes a space like this


def _byte_alphabet() -> dict[str, int]:
    """The printable characters that stand for the 256 bytes in byte-level BPE (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Tokenizer:
    """Encodes prompts and gives each token's bytes. For one thread: the backend keeps state while it encodes."""

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

    def encode(self, prompt: Prompt, room: int) -> list[int]:
        """The prompt's token ids. A chat is rendered by the model's template (jinja's sandbox), and control tokens
        that a message spells out stay plain text; in raw text they are control tokens, as in `transformers`.

        Raises `InvalidRequest` for what cannot be encoded, `ContextTooLong` for text that cannot fit `room` tokens
        however it is cut.
        """
        if isinstance(prompt, str):
            self._check_length(len(prompt), room, "prompt")
            return list(self.hf.encode(prompt))
        tokens = [token for token in prompt if isinstance(token, int)]
        if tokens and len(tokens) == len(prompt):
            return tokens
        messages = [message for message in prompt if isinstance(message, Mapping)]
        if not messages or len(messages) < len(prompt):
            raise InvalidRequest("a prompt is text, token ids or chat messages, and not empty", param="prompt")
        if not all(isinstance(message.get(part), str) for message in messages for part in ("role", "content")):
            raise InvalidRequest("each message needs `role` and `content`, both text", param="messages")
        self._check_length(sum(len(message["content"]) for message in messages), room, "messages")
        return self._encode_chat(messages)

    def _check_length(self, characters: int, room: int, param: str) -> None:
        if characters > room * self._longest:
            raise ContextTooLong(
                f"{characters} characters cannot fit the model's context of {room} tokens; shorten the input",
                param=param,
            )

    def _encode_chat(self, messages: Chat) -> list[int]:
        if not self.hf.chat_template:
            raise InvalidRequest("this model has no chat template; send a plain prompt", param="messages")
        try:
            ids = self.hf.apply_chat_template(
                [dict(message) for message in messages],
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


def _decoder_kinds(backend: Any) -> set[str]:
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    return {decoder.get("type", "")} | {part["type"] for part in decoder.get("decoders", ())} - {""}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
