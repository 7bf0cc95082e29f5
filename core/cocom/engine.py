"""`Cocom`: compress passages, answer from them, keep the model. Delegates, decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from cocom.backbone import Backbone
from cocom.batcher import MicroBatcher
from cocom.compressor import Compressor, WindowCompressor
from cocom.config import CocomConfig
from cocom.datatypes import Answer, ContextEmbeddings, FusionScores, Passage, Turn
from cocom.decoder_compressor import DecoderCompressor
from cocom.encoder_compressor import EncoderCompressor
from cocom.errors import InputError
from cocom.fingerprint import fingerprint_of
from cocom.fusion.marginal import by_sequence, by_token
from cocom.generation import Fusion, GenerationOptions, before_stop, generation_options
from cocom.prompt import Slot, fill_template
from cocom.reader import FusedRequest, Reader, ReadRequest, Request
from cocom.requests import (
    PassageLike,
    answer_ids,
    check_fingerprint,
    conversation_request,
    fused_request,
    question_request,
)
from cocom.streaming import AnswerStream

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Cocom", "PassageLike"]


class Cocom:
    """Context compression with one language model.

    Attributes:
        config: How the model is put together.
        backbone: The language model in its two roles.
        encoder: The light compressor, or None where the language model compresses.
        batcher: The queue through which streams and concurrent callers reach the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: CocomConfig | None = None,
        *,
        encoder: PreTrainedModel | None = None,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        """Put a COCOM model together from a causal language model; its new weights are untrained.

        Args:
            model: Any Hugging Face causal language model.
            tokenizer: Its fast tokenizer.
            config: How to put them together; None takes the paper's settings.
            encoder: The light compressor's encoder, if `config.encoder` asks for one.
            encoder_tokenizer: The encoder's fast tokenizer.

        Raises:
            ModelError: The model or a tokenizer lacks something the method needs.
            InputError: An encoder without `config.encoder`, or the other way round.
        """
        self.config = config or CocomConfig()
        given = {encoder is not None, encoder_tokenizer is not None}
        if given != {self.config.encoder is not None}:
            raise InputError(
                f"config.encoder is {self.config.encoder} but encoder is "
                f"{type(encoder).__name__} and encoder_tokenizer {type(encoder_tokenizer).__name__}: "
                "give all three for a light compressor, or none."
            )
        self.backbone = Backbone(model, tokenizer, self.config)
        self.encoder: EncoderCompressor | None = None
        self.window_compressor: WindowCompressor
        if encoder is not None and encoder_tokenizer is not None:
            self.encoder = EncoderCompressor(
                encoder, encoder_tokenizer, self.config, self.backbone.hidden_size
            )
            self.window_compressor = self.encoder
        else:
            self.window_compressor = DecoderCompressor(self.backbone)
        self._compressor = Compressor(self.window_compressor, self.config, self.backbone.text)
        self._reader = Reader(self.backbone)
        self.batcher = MicroBatcher(self._reader)
        self._fingerprint: str | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | PathLike[str] = "cocom-tiny",
        *,
        base: str | PathLike[str] | Mapping[str, str | PathLike[str]] | None = None,
        layout: str | None = None,
        window: int | None = None,
        subfolder: str = "",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        attn_implementation: str | None = None,
        quantization: Any = None,
    ) -> Cocom:
        """Load a model: the shipped one, one that was saved, or a published checkpoint.

        Published COCOM, COCOM-light, PISCO, OSCAR and CLaRa (stage 1) checkpoints load without any code
        of theirs, by their own rules; docs/checkpoints.md tells which.

        Args:
            name_or_path: "cocom-tiny" (ships with the package), a folder, or a hub repository.
            base: Where a published checkpoint's base models are, if not under the names in its
                config.json: the language model's folder or name, or a mapping from those names.
            layout: How a published checkpoint's compressor lays out its input; None takes the way it was
                trained with.
            window: Passage tokens compressed at a time, where a published checkpoint does not say.
            subfolder: Where in the folder or repository the checkpoint is.
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub.
            cache_dir: Folder of the hub's download cache.
            local_files_only: Never use the network.
            device: Where to put it; None takes CUDA if there is one, else the CPU.
            dtype: Type to compute in; None takes the saved one on CUDA, on CPUs with bfloat16 matrix
                instructions (AMX or AVX512-BF16) a saved bfloat16, and else float32; "auto" takes the saved
                one everywhere.
            device_map: How transformers spreads the language model over devices.
            attn_implementation: Which attention transformers uses, such as "flash_attention_2".
            quantization: "8bit", "4bit" (through bitsandbytes or torchao) or a transformers configuration.

        Raises:
            CheckpointError: The checkpoint is missing, incomplete, damaged or none of the known formats.
        """
        from cocom.checkpoints.loading import load
        from cocom.checkpoints.source import HubOptions

        return load(
            name_or_path,
            base=base,
            layout=layout,
            window=window,
            hub=HubOptions(revision, token, cache_dir, local_files_only, subfolder),
            device=device,
            dtype=dtype,
            device_map=device_map,
            attn_implementation=attn_implementation,
            quantization=quantization,
        )

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | PathLike[str],
        config: CocomConfig | None = None,
        *,
        encoder: str | PathLike[str] | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Cocom:
        """Start a new, untrained COCOM model from a Hugging Face causal language model.

        Args:
            name_or_path: Hub name or folder of the language model.
            config: How to put it together; None takes the paper's settings.
            encoder: Hub name or folder of the light compressor's encoder.
            device: Where to put it; None takes CUDA if there is one, else the CPU.
            dtype: Type to compute in; None takes the saved one on CUDA and float32 on the CPU.

        Raises:
            CheckpointError: A model cannot be loaded.
            ModelError: It lacks something the method needs.
        """
        from cocom.persistence import start

        return start(name_or_path, config, encoder=encoder, device=device, dtype=dtype)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write the whole model into a folder; it appears complete or not at all.

        Raises:
            CheckpointError: The folder exists and holds something else than a COCOM model.
        """
        from cocom.persistence import save

        save(self, folder)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        message: str = "Upload a COCOM model",
    ) -> str:
        """Put the whole model, with a model card, into a repository on the Hugging Face hub.

        Args:
            repository: owner/name; made if it is not there.
            private: Whether a new repository is private.
            token: Access token; None takes the one of the environment.
            revision: Branch to write to.
            message: Of the commit.

        Returns:
            Address of the commit.

        Raises:
            CheckpointError: The hub refused.
        """
        from cocom.checkpoints.upload import upload

        return upload(
            self, repository, private=private, token=token, revision=revision, message=message
        )

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: what a context embedding's meaning rests on."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self)
        return self._fingerprint

    @property
    def reads_query(self) -> bool:
        """Whether `compress` takes a query, because the compressor reads it (OSCAR)."""
        return self.config.encoder is not None and bool(self.config.encoder.query)

    def modules(self) -> dict[str, nn.Module]:
        """The parts that hold weights, by name."""
        parts: dict[str, nn.Module] = {"backbone": self.backbone}
        if self.encoder is not None:
            parts["encoder"] = self.encoder
        return parts

    def weights_changed(self) -> None:
        """Forget the fingerprint and what was kept of prompts; call it after changing weights by hand.

        Without it, changes through `.data` stay unnoticed.
        """
        self._fingerprint = None
        self._reader.forget()

    def merge_adapter(self, role: Literal["read", "compress"] = "read") -> None:
        """Fold the LoRA adapter of a role into the weights, so that no layer computes it any more.

        With shared adapters both roles go on. With separate ones the model then serves this role alone; a
        light compressor has its own. Without adapters nothing happens. Results differ by rounding, and the
        fingerprint stays: contexts serve merged and unmerged models alike. A merged model cannot be trained
        or saved.

        Args:
            role: What the model is for: "read" to answer, "compress" to compress.

        Raises:
            ModelError: The weights are quantized or offloaded, or the other role's adapter was merged.
            InputError: There is no such role.
        """
        if role not in ("read", "compress"):
            raise InputError(f"role must be 'read' or 'compress', got {role!r}.")
        _ = self.fingerprint  # of the weights as they were
        if role == "compress" and self.encoder is not None:
            self.encoder.merge_adapter()
        else:
            self.backbone.merge_adapter(role)
            self._reader.forget()

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        rate: int | None = None,
        query: str | None = None,
        batch_tokens: int = 8192,
        keep_text: bool = True,
        progress: bool = False,
    ) -> list[ContextEmbeddings]:
        """Compress passages, each on its own (paper, section 3.1).

        Args:
            passages: Texts; longer ones than the model's window are compressed in windows.
            rate: Passage tokens per embedding; None takes the model's first rate.
            query: What the passages are compressed for; only for models that compress for a question
                (OSCAR), whose embeddings then serve that question alone.
            batch_tokens: Rows in one forward pass, padding included.
            keep_text: Whether results carry their passage.
            progress: Show a progress bar.

        Returns:
            One result a passage, in order; ceil(tokens / rate) embeddings a window.

        Raises:
            EmptyPassageError: A passage without text.
            ConfigError: The model does not serve `rate`.
            InputError: A single text instead of a sequence, a query that the compressor does not
                read, or a bad option.
        """
        if query is not None and (not isinstance(query, str) or not query.strip()):
            raise InputError(f"query must be a text that asks something, got {query!r}.")
        if isinstance(passages, str | Passage):
            raise InputError(
                "passages must be a sequence of texts, got a single one: put it in a list."
            )
        return self._compressor.compress(
            [p if isinstance(p, Passage) else Passage(p) for p in passages],
            rate=rate,
            fingerprint=self.fingerprint,
            query=query,
            batch_tokens=batch_tokens,
            keep_text=keep_text,
            progress=progress,
        )

    def answer(
        self,
        question: str,
        passages: Sequence[PassageLike] = (),
        *,
        scores: Sequence[float] | None = None,
        **options: Any,
    ) -> Answer:
        """Answer one question from any number of passages.

        All passages stand in one prompt, unless `fusion` says that each is read in a prompt of its own; see
        docs/rag-decoding.md.

        Args:
            question: What is asked.
            passages: Context embeddings and texts, in any order; none asks the model alone.
            scores: The retriever's, one a passage, where passages are read apart: their softmax is how much
                each counts. None finds all alike.
            **options: Fields of `GenerationOptions`, such as `max_new_tokens` or `stop`.

        Raises:
            FingerprintError: Context embeddings that another model made.
            PromptTooLongError: Prompt and answer do not fit the model.
            EmptyPassageError: A passage without text.
            InputError: An empty question, scores that do not fit, or a bad option.
        """
        each = None if scores is None else [scores]
        return self.answer_batch([question], [passages], scores=each, **options)[0]

    def answer_batch(
        self,
        questions: Sequence[str],
        passages: Sequence[Sequence[PassageLike]],
        *,
        scores: Sequence[Sequence[float] | None] | None = None,
        batch_size: int = 16,
        **options: Any,
    ) -> list[Answer]:
        """Answer questions together; each has its own passages, as many as it likes.

        The answers are those that `answer` gives one at a time, sampled ones with a seed too; only in
        bfloat16 and float16 may rounding, which follows the size of the batch, change one now and then.

        Args:
            questions: What is asked.
            passages: Each question's passages.
            scores: Each question's scores, as `answer` takes them.
            batch_size: Questions decoded at a time.
            **options: Fields of `GenerationOptions`.

        Raises:
            InputError: The numbers of questions and of passage lists differ; else as `answer`.
        """
        if isinstance(questions, str):
            raise InputError(
                "questions must be a sequence, got a single text: call answer() for one."
            )
        if len(questions) != len(passages):
            raise InputError(
                f"got {len(questions)} questions but {len(passages)} lists of passages: "
                "pass one list a question (it may be empty)."
            )
        if scores is not None and len(questions) != len(scores):
            raise InputError(
                f"got {len(questions)} questions but {len(scores)} lists of scores: pass one list a "
                "question, or None for it."
            )
        settings = generation_options(options)
        weights = [None] * len(questions) if scores is None else scores
        requests = [
            self.request_for(question, read, settings, weight)
            for question, read, weight in zip(questions, passages, weights, strict=True)
        ]
        return self._reader.read(requests, settings, batch_size=batch_size)

    def stream(
        self,
        question: str,
        passages: Sequence[PassageLike] = (),
        *,
        scores: Sequence[float] | None = None,
        **options: Any,
    ) -> AnswerStream:
        """Answer one question piece by piece; arguments and errors as `answer`.

        Iterate over the result for the text; its `answer` has text and usage afterwards. A beam search and
        RAG-Sequence are one piece, since their text is known at the end only.
        """
        settings = generation_options(options)
        return self.batcher.stream(self.request_for(question, passages, settings, scores), settings)

    def score(
        self,
        question: str,
        passages: Sequence[PassageLike],
        answers: Sequence[str | Sequence[int]],
        *,
        scores: Sequence[float] | None = None,
        fusion: Fusion = "rag-token",
    ) -> list[FusionScores]:
        """How likely given answers are: p(y|x), and what each passage contributes to it.

        Args:
            question: What is asked.
            passages: As `answer`.
            answers: Texts, tokenized as in training and ended; or token ids, such as an answer's.
            scores: As `answer`.
            fusion: How passages are put together; see `GenerationOptions`. "rag-sequence-fast", a way to
                search, is the same as "rag-sequence" here.

        Raises:
            InputError: An answer that is neither text nor token ids; else as `answer`.
        """
        if isinstance(answers, str):
            raise InputError("answers must be a sequence, got a single text: put it in a list.")
        settings = GenerationOptions(fusion=fusion)
        request = self.request_for(question, passages, settings, scores)
        if isinstance(request, ReadRequest):
            request = FusedRequest((request,), (0.0,), (), 0)
        ids = [answer_ids(self.backbone, answer, i) for i, answer in enumerate(answers)]
        found: list[FusionScores] = []
        for table in self._reader.tables(request, ids) if ids else []:
            if settings.by_sequence:
                scored = by_sequence(request.prior, [sum(tokens) for tokens in table])
            else:
                scored = by_token(request.prior, list(zip(*table, strict=True)))
            found.append(request.scores(*scored))
        return found

    def chat(self, turns: str | Sequence[Turn], **options: Any) -> Answer:
        """Continue a conversation in which any turn may hold context embeddings.

        Turns go through the tokenizer's chat template if `config.prompt.chat` is on. Else each exchange
        is laid out as a question in training; see `cocom.turns`.

        Args:
            turns: The conversation so far, or a text for a single user turn.
            **options: Fields of `GenerationOptions`.

        Raises:
            FingerprintError: Context embeddings that another model made.
            PromptTooLongError: Prompt and answer do not fit the model.
            InputError: Nothing to read, an unknown role or a bad option.
            ModelError: The chat template refuses the turns.
        """
        return self._reader.read([self.chat_request(turns)], generation_options(options))[0]

    def stream_chat(self, turns: str | Sequence[Turn], **options: Any) -> AnswerStream:
        """Continue a conversation piece by piece; arguments and errors as `chat`."""
        return self.batcher.stream(self.chat_request(turns), generation_options(options))

    def configure_batching(
        self,
        *,
        max_batch: int = 16,
        max_rows: int = 32768,
        max_wait: float = 0.002,
        max_queue: int = 256,
    ) -> None:
        """Set how requests of concurrent callers are put together; those under way end as they began.

        Args:
            max_batch: Requests in a batch.
            max_rows: Rows in a batch, padding included; a longer request is read alone.
            max_wait: Seconds that a first request waits for others.
            max_queue: Requests that may wait; further callers wait until there is room.

        Raises:
            InputError: A limit is out of range.
        """
        self.batcher = MicroBatcher(
            self._reader,
            max_batch=max_batch,
            max_rows=max_rows,
            max_wait=max_wait,
            max_queue=max_queue,
        )

    def configure_decoding(self, *, compile: bool = False, graphs: bool = True) -> None:
        """Set how each step of an answer is launched; answers under way end as they began.

        Args:
            compile: Compile the step with torch.compile, once for each size of batch and each 256 rows of
                the longest prompt; the first of a size takes long (on a CPU from 10 s to minutes), so this
                is for servers.
            graphs: Replay the step as a CUDA graph; without effect elsewhere.
        """
        self._reader.configure(compile=compile, graphs=graphs)

    def __getstate__(self) -> dict[str, Any]:
        """The model without its queue, which belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if name != "batcher"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The model with a queue of its own."""
        self.__dict__.update(state)
        self.batcher = MicroBatcher(self._reader)

    def reconstruct(self, contexts: ContextEmbeddings, **options: Any) -> str:
        """Write a passage back from its embeddings: what survived the compression.

        Works for models trained to auto-encode (paper, section 3.2).

        Args:
            contexts: One passage's context embeddings.
            **options: Fields of `GenerationOptions`; by default as many tokens as were compressed.
        """
        check_fingerprint(self.fingerprint, contexts, 0)
        ids: list[int] = []
        start = 0
        compressed = sum(window.tokens for window in contexts.windows)
        template = self.config.prompt.auto_encoding
        prompt = self.backbone.text.encode(fill_template(template, {"passages": [Slot(0)]}))
        for window in contexts.windows:
            part = contexts.embeddings[start : start + window.embeddings]
            start += window.embeddings
            one = ContextEmbeddings(
                part, contexts.rate, (window,), window.tokens, contexts.fingerprint
            )
            # A light compressor counts tokens of its own, the reader may need more for the same text.
            share = -(-contexts.text_tokens * window.tokens // compressed)
            room = max(window.tokens, share) + 8
            settings = generation_options({"max_new_tokens": room, **options})
            ids += self._reader.read([ReadRequest(prompt, (one,))], settings)[0].token_ids
        stop = generation_options(options).stop
        return before_stop(self.backbone.text.decode(ids), stop)[0].strip()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the compressor counts them (its window and rates are in these)."""
        return sum(len(window.ids) for window in self.window_compressor.windows(text))

    def request(self, question: str, passages: Sequence[PassageLike]) -> ReadRequest:
        """Build the prompt of a question: token ids, slots, and the embeddings to put there."""
        return question_request(self.backbone, self.fingerprint, question, passages)

    def request_for(
        self,
        question: str,
        passages: Sequence[PassageLike],
        options: GenerationOptions,
        scores: Sequence[float] | None = None,
    ) -> Request:
        """Build the prompt of a question, or one for each passage, as `options.fusion` says.

        Raises:
            InputError: Scores without passages that are read apart; else as `answer`.
        """
        if options.fusion != "concat":
            return fused_request(self.backbone, self.fingerprint, question, passages, scores)
        if scores is not None:
            raise InputError(
                "scores weigh passages that are read apart, but fusion is 'concat', which reads them in one "
                "prompt: set fusion to 'rag-token' or 'rag-sequence', or leave scores out."
            )
        return self.request(question, passages)

    def chat_request(self, turns: str | Sequence[Turn]) -> ReadRequest:
        """Build the prompt of a conversation; errors as `chat`."""
        return conversation_request(self.backbone, self.fingerprint, turns)
