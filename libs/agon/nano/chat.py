"""How a chat becomes tokens: the template, and the tokenizer that is trained on the skills' own text.

Three control tokens: `<|im_start|>` and `<|im_end|>` around each turn, `<|endoftext|>` for padding. All three are
special added tokens, so an encoder that is told to treat special tokens in a message as plain text
(`encode_special_tokens` of `tokenizers`, `sanitize_control_tokens` of `apply_chat_template`) leaves a user no way to
write one. `<|im_end|>` is the end of an answer. Tool calls are plain text.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agon.nano.skills import Message

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

TEMPLATE = """\
{%- set offer = namespace(text='') -%}
{%- for tool in tools or [] -%}
{%- set it = tool.function if tool.function is defined else tool -%}
{%- set names = it.parameters.properties.keys() | join(', ') if it.parameters is defined else '' -%}
{%- set offer.text = offer.text ~ (', ' if offer.text else 'Tools: ') ~ it.name ~ '(' ~ names ~ ')' -%}
{%- endfor -%}
{%- if offer.text and messages[0].role != 'system' -%}
{{- '<|im_start|>system\\n' ~ offer.text ~ '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role not in ['system', 'user', 'assistant', 'tool'] -%}
{{- raise_exception('a role is system, user, assistant or tool, not ' ~ message.role) -}}
{%- endif -%}
{{- '<|im_start|>' ~ message.role ~ '\\n' -}}
{%- if message.content -%}{{- message.content -}}{%- endif -%}
{%- if loop.first and message.role == 'system' and offer.text -%}{{- '\\n' ~ offer.text -}}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set it = call.function if call.function is defined else call -%}
{{- '<tool_call>\\n{"name": "' ~ it.name ~ '", "arguments": ' -}}
{{- it.arguments if it.arguments is string else it.arguments | tojson -}}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def pieces(messages: Sequence[Message]) -> list[tuple[str, bool]]:
    """The chat as the template writes it, cut where training begins and stops to learn: (text, is learned)."""
    cut: list[tuple[str, bool]] = []
    for message in messages:
        if message["role"] == "assistant":
            cut += [(f"{START}assistant\n", False), (f"{message['content']}{END}", True), ("\n", False)]
        else:
            cut.append((f"{START}{message['role']}\n{message['content']}{END}\n", False))
    return cut


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `size` tokens, digits apart. So small that most words are cut into a few letters each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
