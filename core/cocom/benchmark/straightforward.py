"""The straightforward way, to compare with: what one writes first, and what published code does.

Compressing goes through the whole causal language model: the LM head runs over every position, every
layer's states are kept, every passage is padded to the full window and batches have a fixed size. Answering
embeds one prompt and calls `generate`, one question after the other, with a cache that grows. Both give
what `Cocom.compress` and `Cocom.answer` give, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

from cocom.engine import Cocom
from cocom.products import usual_products
from cocom.requests import PassageLike
from cocom.splice import ReadRow, fill_slots, gather_states, pack_prompts, pack_windows

__all__ = ["BATCH", "answer", "compress", "full_rows"]

BATCH = 32


def compress(
    model: Cocom, passages: Sequence[str], *, rate: int, batch_size: int = BATCH
) -> list[torch.Tensor]:
    """Context embeddings of passages, each of shape (embeddings, hidden).

    Args:
        model: Compresses with its own language model, not with a light compressor.
        passages: Texts.
        rate: Passage tokens per embedding.
        batch_size: Windows in one forward pass.
    """
    compressor = model.window_compressor
    cut = [compressor.windows(passage) for passage in passages]
    rows = [compressor.row(window.ids, rate) for windows in cut for window in windows]
    network: Any = model.backbone.model
    parts: list[torch.Tensor] = []
    with torch.no_grad(), model.backbone.role("compress"), usual_products():
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            batch = pack_windows(
                chosen,
                model.backbone.pad_id,
                uniform=model.config.memory_positions == "uniform",
                least=full_rows(model, rate),
            ).to(model.backbone.device)
            output = network(
                inputs_embeds=model.backbone.embed(batch.ids),
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
                output_hidden_states=True,
            )
            states = gather_states(output.hidden_states[-1], batch.memory_index)
            parts += states.split([row.window.embeddings for row in chosen])
    found = iter(parts)
    return [torch.cat([next(found) for _ in windows]) for windows in cut]


def full_rows(model: Cocom, rate: int) -> int:
    """Rows of a full window with what stands around it and its memory tokens."""
    window = model.config.window
    around = len(model.window_compressor.row([0], rate).ids) - 1
    around -= model.config.embeddings_for(1, rate)
    return window + around + model.config.embeddings_for(window, rate)


def answer(
    model: Cocom, question: str, passages: Sequence[PassageLike], *, max_new_tokens: int
) -> list[int]:
    """Token ids of a greedy answer to one question.

    Args:
        model: Reads.
        question: What is asked.
        passages: Context embeddings and texts.
        max_new_tokens: Most tokens.
    """
    backbone = model.backbone
    ends = model._reader.ends
    request = model.request(question, passages)
    row = ReadRow(request.prompt, [(c.windows, c.rate) for c in request.contexts])
    uniform = model.config.memory_positions == "uniform"
    batch = pack_prompts([row], backbone.pad_id, uniform=uniform, left=True).to(backbone.device)
    network: Any = backbone.model
    with (
        torch.no_grad(),
        backbone.role("read"),
        usual_products(),
        _own_settings_only(network),
    ):
        embeds = backbone.embed(batch.ids)
        if request.contexts:
            contexts = [request.contexts[c].embeddings for _, c in request.prompt.slots]
            embeddings = torch.cat([c.to(embeds.device, embeds.dtype) for c in contexts])
            embeds = fill_slots(embeds, batch.slot_index, embeddings)
        output = network.generate(
            inputs_embeds=embeds,
            attention_mask=batch.attention_mask,
            generation_config=GenerationConfig(
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=sorted(ends),
                pad_token_id=backbone.pad_id,
            ),
            **({"position_ids": batch.position_ids} if uniform else {}),
        )
    ids: list[int] = output[0].tolist()
    return ids


@contextmanager
def _own_settings_only(network: Any) -> Iterator[None]:
    """Without the checkpoint's generation settings, which `generate` would add to those it is given."""
    before = network.generation_config
    network.generation_config = GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = before
