"""The bundled models: their shapes and what training each may cost."""

from dataclasses import dataclass

from transformers import LlamaConfig

VOCABULARY = 512
CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model. Training ends after `tokens`, or after `minutes` of processor time on a slower machine, shared by all
    lanes; the schedule follows."""

    name: str
    hidden: int
    layers: int
    heads: int
    inner: int
    tokens: int
    minutes: float
    grows: str | None = None
    """The model that this one begins as, of the same width: what that has learned need not be learned again."""
    rows: int = 4
    """Rows of 512 tokens in the batch of one lane: the longest stories fit."""
    rate: float = 0.02
    """Muon's learning rate at the top; AdamW's is a fixed share of it."""

    def config(self, end: int, pad: int) -> LlamaConfig:
        """The transformers configuration; `end` and `pad` are token ids."""
        return LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            head_dim=self.hidden // self.heads,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end,
            pad_token_id=pad,
            attention_dropout=0.0,
        )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("nano-0.3m", hidden=96, layers=2, heads=3, inner=256, tokens=4_000_000, minutes=4),
        Recipe("nano-1m", hidden=192, layers=2, heads=6, inner=512, tokens=20_000_000, minutes=18),
        Recipe("nano-2m", hidden=192, layers=5, heads=6, inner=512, tokens=20_000_000, minutes=28, grows="nano-1m",
               rate=0.012),
        Recipe("nano-6m", hidden=192, layers=13, heads=6, inner=512, tokens=20_000_000, minutes=36, grows="nano-2m",
               rate=0.012),
    )
}  # fmt: skip
"""Smaller models first. A full run takes about 55 minutes on two cores, measuring included."""
