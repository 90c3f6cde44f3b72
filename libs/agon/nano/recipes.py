"""The bundled models: their shapes and what training each may cost."""

from dataclasses import dataclass

from transformers import LlamaConfig

VOCABULARY = 512
CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model. Training ends after `tokens`, or after `minutes` on a slower machine; the schedule follows."""

    name: str
    hidden: int
    layers: int
    heads: int
    inner: int
    tokens: int
    minutes: float
    rows: int = 8
    """Rows of 256 tokens in a batch."""
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
        Recipe("nano-0.3m", hidden=96, layers=2, heads=3, inner=256, tokens=2_500_000, minutes=3),
        Recipe("nano-1m", hidden=128, layers=4, heads=4, inner=384, tokens=8_000_000, minutes=12),
        Recipe("nano-2m", hidden=192, layers=5, heads=6, inner=512, tokens=14_000_000, minutes=26),
        Recipe("nano-6m", hidden=256, layers=7, heads=8, inner=704, tokens=24_000_000, minutes=42, rows=12),
    )
}
"""The two lanes of a full run take about 45 minutes on two cores, measuring included."""
