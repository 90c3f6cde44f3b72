"""A deeper model that begins as a shallower one: layers are added that change nothing until they have learned.

A layer of a residual network whose last projections are zero adds zero (Chen, Goodfellow, Shlens: "Net2Net", ICLR 2016,
section 3.2). So the deeper model gives the same logits at first, and goes on learning from there.
"""

import torch
from transformers import LlamaForCausalLM


def grow(deeper: LlamaForCausalLM, shallower: LlamaForCausalLM) -> None:
    """Make `deeper`, which has its first weights, say what `shallower` says. Both have the same width and heads."""
    depth, known = len(deeper.model.layers), len(shallower.model.layers)
    places = {number * depth // known: number for number in range(known)}
    with torch.no_grad():
        deeper.model.embed_tokens.load_state_dict(shallower.model.embed_tokens.state_dict())
        deeper.model.norm.load_state_dict(shallower.model.norm.state_dict())
        for number, layer in enumerate(deeper.model.layers):
            if number in places:
                layer.load_state_dict(shallower.model.layers[places[number]].state_dict())
            else:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
