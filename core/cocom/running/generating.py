"""Beam search, and models that the decode loop cannot run: whole batches through transformers' generate."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from cocom.backbone import Backbone
from cocom.generation import GenerationOptions, before_stop, until_end
from cocom.running.line import Line
from cocom.running.request import with_contexts
from cocom.running.runner import Take
from cocom.splice import pack_prompts

__all__ = ["GenerateRunner"]


class GenerateRunner:
    """Runs batches of prompts to the end of their longest answer."""

    def __init__(self, backbone: Backbone, ends: Set[int]) -> None:
        """Prepare.

        Args:
            backbone: Reads.
            ends: Tokens that end an answer.
        """
        self._backbone = backbone
        self._ends = ends

    def together(self, first: GenerationOptions, other: GenerationOptions) -> bool:
        """Lines with the same options, unless a seed is to repeat what they draw."""
        return first == other and not (first.temperature > 0 and first.seed is not None)

    def run(self, take: Take) -> None:
        """As `Runner.run`; nothing joins a batch that is being written."""
        while lines := take([]):
            self._write(list(lines))

    def _write(self, lines: list[Line]) -> None:
        try:
            ids = self._generate(lines)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            # One bad request, or too large a batch, is no reason for the others to fail.
            left = [line for line in lines if not line.over]
            again = [line for line in left if len(lines) > 1 and not line.told]
            for line in left:
                if line not in again:
                    line.fail(error)
            for line in lines:
                if line.over:
                    line.tell()
            for line in again:
                line.restart()
                self._write([line])
            return
        for line, row in zip(lines, ids, strict=True):
            if not line.over:
                line.ids = self._until_stop(until_end(row, self._ends), line.options)
                line.finish()
            line.tell()

    def _generate(self, lines: Sequence[Line]) -> list[list[int]]:
        backbone, options = self._backbone, lines[0].options
        requests = [line.request for line in lines]
        uniform = backbone.config.memory_positions == "uniform"
        batch = pack_prompts(
            [request.row() for request in requests], backbone.pad_id, uniform=uniform, left=True
        ).to(backbone.device)
        with (
            torch.no_grad(),
            backbone.role("read"),
            _seeded(options, backbone.device),
            self._own_settings_only(),
        ):
            embeds = with_contexts(backbone.embed(batch.ids), batch.slot_index, requests)
            generator: Any = backbone.model
            output = generator.generate(
                inputs_embeds=embeds,
                attention_mask=batch.attention_mask,
                generation_config=self._settings(options),
                stopping_criteria=StoppingCriteriaList([_Rows(lines, self._stops_beam)]),
                **({"position_ids": batch.position_ids} if uniform else {}),
            )
        rows: list[list[int]] = output.tolist()
        return rows

    def _settings(self, options: GenerationOptions) -> GenerationConfig:
        sampling = options.temperature > 0
        settings: dict[str, Any] = {
            "max_new_tokens": options.max_new_tokens,
            "num_beams": options.beams,
            "length_penalty": 1.0 if options.length_penalty is None else options.length_penalty,
            "do_sample": sampling,
            "eos_token_id": sorted(self._ends),
            "pad_token_id": self._backbone.pad_id,
        }
        if sampling:
            settings |= {
                "temperature": options.temperature,
                "top_p": options.top_p,
                "top_k": options.top_k,
            }
        return GenerationConfig(**settings)

    @contextmanager
    def _own_settings_only(self) -> Iterator[None]:
        """Without the checkpoint's generation settings, which would fill in for ours."""
        model: Any = self._backbone.model
        before = model.generation_config
        model.generation_config = GenerationConfig()
        try:
            yield
        finally:
            model.generation_config = before

    def _stops_beam(self, ids: Sequence[int], options: GenerationOptions) -> bool:
        return bool(options.stop) and before_stop(self._backbone.text.decode(ids), options.stop)[1]

    def _until_stop(self, ids: list[int], options: GenerationOptions) -> list[int]:
        """Ids up to and including the token that completes a stop string, as one row alone has."""
        if not self._stops_beam(ids, options):
            return ids
        sizes = (n for n in range(1, len(ids)) if self._stops_beam(ids[:n], options))
        return ids[: next(sizes, len(ids))]


class _Rows(StoppingCriteria):
    """Sees every row after every token: hands it to its line, and ends it where the line is over."""

    def __init__(
        self,
        lines: Sequence[Line],
        stops_beam: Callable[[Sequence[int], GenerationOptions], bool],
    ) -> None:
        self._lines = lines
        self._stops_beam = stops_beam

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = input_ids.tolist()
        share = len(rows) // len(self._lines)
        if self._lines[0].options.beams == 1:
            for line, ids in zip(self._lines, rows, strict=True):
                if not line.over:
                    line.add(ids[-1])
            done = [line.over for line in self._lines]
            if not all(done):
                for line in self._lines:
                    if line.over:
                        line.tell()
        else:  # several candidates a prompt, which others may replace and so undo
            lines = [self._lines[i // share] for i in range(len(rows))]
            done = [
                line.stopped or self._stops_beam(ids, line.options)
                for line, ids in zip(lines, rows, strict=True)
            ]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)


class _seeded:  # noqa: N801 - used as a function
    """Seed torch for one generation and put its generators back afterwards."""

    def __init__(self, options: GenerationOptions, device: torch.device) -> None:
        self._seed = options.seed if options.temperature > 0 else None
        self._device = device
        self._fork = torch.random.fork_rng(
            devices=[device] if device.type == "cuda" else [], enabled=self._seed is not None
        )

    def __enter__(self) -> None:
        self._fork.__enter__()
        if self._seed is not None:
            torch.default_generator.manual_seed(self._seed)
            if self._device.type == "cuda":
                with torch.cuda.device(self._device):
                    torch.cuda.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)
