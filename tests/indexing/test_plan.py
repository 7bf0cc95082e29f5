"""What compressing a corpus takes: against known sizes, torch's count of operations, and real models."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from torch.utils.flop_counter import FlopCounterMode
from transformers import MistralConfig, MixtralConfig, PretrainedConfig

from cocom import Cocom, CocomConfig
from cocom.cli import index_plan
from cocom.config import EncoderConfig, LoraSettings
from cocom.errors import CheckpointError, ConfigError, InputError
from cocom.indexing.planning import plan_options, throughput
from cocom.indexing.planning.plan import INDEX_BYTES, IndexPlan, PlanOptions, plan
from cocom.indexing.planning.shape import CompressorShape, shape_of
from cocom.indexing.planning.throughput import MeasuredThroughput, measure, passage_of
from cocom.store import quantization
from cocom.testing import tiny_cocom

KIB = 1024


def configs_only(folder: Path, backbone: PretrainedConfig, config: CocomConfig) -> Path:
    """A model folder without a single weight."""
    backbone.save_pretrained(folder / "backbone")
    manifest = {"format_version": 1, "fingerprint": "unknown", "config": config.to_dict()}
    (folder / "cocom.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = MistralConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        dtype="bfloat16",
    )
    return configs_only(tmp_path_factory.mktemp("mistral"), shape, CocomConfig())


@pytest.fixture(scope="module")
def seven(mistral: Path) -> CompressorShape:
    return shape_of(mistral)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cocom().save_pretrained(folder)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command as `cocom index plan` will, and gives what it writes."""
    app = typer.Typer()
    app.command("plan")(index_plan.command)

    def run(*arguments: object) -> str:
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("rate", "embeddings", "size", "passages_per_second"),
    [(4, 32, 256 * KIB, 348), (16, 8, 64 * KIB, 409), (128, 1, 8 * KIB, 431)],
)
def test_a_mistral_of_7b_has_the_known_sizes_and_speeds(
    seven: CompressorShape, rate: int, embeddings: int, size: int, passages_per_second: float
) -> None:
    made = plan(seven, PlanOptions(24_000_000, rate=rate, peak=790, mfu=1))
    assert made.embeddings.value == embeddings
    assert made.passage_bytes.value == size
    assert made.embedding_bytes.value == 24_000_000 * size
    assert made.throughput.value == pytest.approx(passages_per_second, rel=0.015)


def test_parameters_are_counted_without_weights(seven: CompressorShape) -> None:
    assert seven.parameters == 7_241_732_096
    assert seven.weights == 7_241_732_096 - 2 * 32000 * 4096 - 65 * 4096  # norms
    assert (seven.width, seven.dtype, seven.layers, seven.attention) == (4096, "bfloat16", 32, 4096)


def counted(model: Cocom, tokens: int, rate: int) -> tuple[int, int]:
    """Embeddings of a passage of so many tokens, and operations as torch counts them."""
    # Fused attention on a CPU is left out by torch's counter.
    model.backbone.model.set_attn_implementation("eager")
    if model.encoder is not None:
        model.encoder.encoder.set_attn_implementation("eager")
    text = passage_of(model, tokens)
    assert model.fingerprint
    with FlopCounterMode(display=False) as counter:
        (contexts,) = model.compress([text], rate=rate)
    return len(contexts), counter.get_total_flops()


MODELS: dict[str, tuple[CocomConfig, dict[str, Any]]] = {
    "full weights": (CocomConfig(), {}),
    "one adapter": (CocomConfig(weights="shared_lora"), {}),
    "two adapters": (CocomConfig(weights="separate_lora", lora=LoraSettings(r=4)), {}),
    "gemma 3": (CocomConfig(), {"family": "gemma3"}),
    "gpt neox": (CocomConfig(), {"family": "gpt_neox"}),
    "concat": (CocomConfig(rates=(16,), encoder=EncoderConfig(head="concat")), {}),
    "mean": (CocomConfig(encoder=EncoderConfig(head="mean")), {}),
    "memory": (CocomConfig(encoder=EncoderConfig(head="memory_mlp", lora_r=2)), {}),
    "right": (CocomConfig(encoder=EncoderConfig(head="memory_mlp", padding="right")), {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_operations_and_embeddings_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    config, settings = MODELS[name]
    model = tiny_cocom(config, **settings)
    model.save_pretrained(tmp_path / "model")
    shape = shape_of(tmp_path / "model")
    assert shape.width == model.backbone.hidden_size
    for tokens in (128, 50, 256):
        embeddings, operations = counted(model, tokens, 16)
        assert shape.embeddings(tokens, 16) == embeddings
        assert shape.flops(tokens, 16) == pytest.approx(operations, rel=0.01)


FORMATS = (
    "cocom_v1_rate4",
    "cocom_v1_rate16_sharded",
    "cocom_light_rate4",
    "cocom_light_rate16",
    "pisco",
    "clara_stage1",
    "oscar_trimmed",
    "naver_pisco_2026",
)


@pytest.mark.parametrize("name", FORMATS)
def test_published_formats_are_read_from_their_configs(shared: Path, name: str) -> None:
    folder = shared / "formats" / name / "checkpoint"
    bases = {
        f"tiny/{n}": shared / "formats/bases" / f"tiny-{n}"
        for n in ("mistral-a", "bert-a", "mistral-c")
    }
    shape = shape_of(folder, base=bases)
    model = Cocom.from_pretrained(folder, base=bases, device="cpu", dtype="auto")
    (rate,) = shape.config.rates
    for tokens in (shape.config.window, 50, 3 * shape.config.window):
        embeddings, operations = counted(model, tokens, rate)
        assert shape.embeddings(tokens, rate) == embeddings
        assert shape.flops(tokens, rate) == pytest.approx(operations, rel=0.03)
    (contexts,) = model.compress(["a text"], rate=rate)
    assert contexts.embeddings.shape[1] == shape.width
    assert str(contexts.embeddings.dtype) == f"torch.{shape.dtype}"


def test_a_published_format_needs_no_weights(shared: Path, tmp_path: Path) -> None:
    bare = []
    for name in ("bases/tiny-mistral-a", "bases/tiny-bert-a", "cocom_light_rate16/checkpoint"):
        bare.append(tmp_path / name)
        bare[-1].mkdir(parents=True)
        text = (shared / "formats" / name / "config.json").read_text()
        (bare[-1] / "config.json").write_text(text)
    reader, encoder, model = bare
    assert shape_of(model, base={"tiny/mistral-a": reader, "tiny/bert-a": encoder}).width == 48


def test_a_trimmed_compressor_of_more_layers_than_its_base_is_refused(
    shared: Path, tmp_path: Path
) -> None:
    config = json.loads((shared / "formats/oscar_trimmed/checkpoint/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "compr_n_layers": 9}))
    with pytest.raises(CheckpointError, match="keeps 9 layers of a base that has 3"):
        shape_of(tmp_path, base=shared / "formats/bases/tiny-mistral-a")


def test_of_a_mixture_of_experts_only_those_a_token_takes_count(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
    }
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_experts_per_tok": 2}

    def weights(experts: int) -> int:
        config = MixtralConfig(**sizes, num_local_experts=experts)
        return shape_of(configs_only(tmp_path / str(experts), config, CocomConfig())).weights

    router = 2 * 32  # one more row of it in each of two layers
    assert weights(8) - weights(2) == 6 * router


def test_a_passage_beyond_a_window_is_counted_window_by_window(seven: CompressorShape) -> None:
    made = plan(seven, PlanOptions(10, rate=16, tokens=128 + 50))
    assert made.embeddings.value == 8 + 4
    assert seven.flops(178, 16) == seven.flops(128, 16) + seven.flops(50, 16)
    assert seven.rows(178, 16) == 128 + 8 + 3 + 50 + 4 + 3
    assert "2 windows" in made.embeddings.note


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 2 * 4096),
        ({"dtype": "float32"}, 4 * 4096),
        ({"quantization": "int8"}, 4096 + 2 * 64),
        ({"quantization": "fp8"}, 4096 + 4),
    ],
)
def test_a_stored_embedding_has_the_bytes_of_its_type(
    seven: CompressorShape, options: dict[str, Any], size: int
) -> None:
    made = plan(seven, PlanOptions(10, rate=16, **options))
    assert made.row_bytes.value == size
    assert made.row_bytes.basis == "computed"
    assert made.passage_bytes.value == 8 * size


def test_scales_of_a_last_short_block_count(seven: CompressorShape) -> None:
    narrow = dataclasses.replace(seven, width=65)
    assert plan(narrow, PlanOptions(1, quantization="int8")).row_bytes.value == 65 + 2 * 2


def test_the_sum_holds_embeddings_texts_and_index(seven: CompressorShape) -> None:
    made = plan(seven, PlanOptions(1000, rate=16, text_bytes=500, storage_price=0.02))
    assert made.text_bytes.value == 500_000
    assert made.index_bytes.value == 1000 * INDEX_BYTES
    assert made.total_bytes.value == 1000 * (64 * KIB + 500 + INDEX_BYTES)
    assert made.storage_cost.value == pytest.approx(made.total_bytes.value / 1e9 * 0.02)
    without = plan(seven, PlanOptions(1000, rate=16, keep_text=False))
    assert without.total_bytes.value == 1000 * (64 * KIB + INDEX_BYTES)


def test_hours_and_cost_follow_from_the_throughput(seven: CompressorShape) -> None:
    made = plan(seven, PlanOptions(7_200_000, gpus=4, throughput=500, gpu_price=3))
    assert made.gpu_hours.value == pytest.approx(4)
    assert made.hours.value == pytest.approx(1)
    assert made.cost.value == pytest.approx(12)
    assert made.cost_per_million.value == pytest.approx(12 / 7.2)


def bases(made: IndexPlan) -> dict[str, str]:
    return {
        name: value["basis"] for name, value in made.to_dict().items() if isinstance(value, dict)
    }


def test_without_any_option_what_rests_on_assumptions_says_so(seven: CompressorShape) -> None:
    made = plan(seven, PlanOptions(1000))
    found = bases(made)
    assert [name for name, basis in found.items() if basis == "given"] == ["passages", "gpus"]
    assert [name for name, basis in found.items() if basis == "measured"] == ["index_bytes"]
    computed = {"rate", "embeddings", "width", "row_bytes", "passage_bytes", "weights", "flops"}
    assert {name for name, basis in found.items() if basis == "computed"} == computed
    assert set(made.assumed) == {
        "tokens", "text_bytes", "peak", "mfu", "gpu_price", "storage_price",
    }  # fmt: skip
    assert set(made.cost.assumes) == {"tokens", "peak", "mfu", "gpu_price"}
    assert set(made.embedding_bytes.assumes) == {"tokens"}


GIVEN: dict[str, Any] = {
    "rate": 16,
    "tokens": 128,
    "text_bytes": 500.0,
    "gpu_price": 2.0,
    "storage_price": 0.02,
}


def test_what_is_given_is_not_assumed(seven: CompressorShape) -> None:
    speeds: tuple[dict[str, Any], ...] = ({"throughput": 400.0}, {"peak": 790.0, "mfu": 0.5})
    for speed in speeds:
        made = plan(seven, PlanOptions(1000, **GIVEN, **speed))
        assert made.assumed == ()
        assert set(bases(made).values()) == {"given", "computed", "measured"}
        assert made.gpu_hours.basis == made.cost.basis == made.storage_cost.basis == "computed"
    assert plan(seven, PlanOptions(1000, **GIVEN, peak=500)).throughput.assumes == ("mfu",)


def test_a_type_that_no_config_tells_is_assumed(seven: CompressorShape) -> None:
    unknown = dataclasses.replace(seven, dtype=None)
    made = plan(unknown, PlanOptions(1000, **GIVEN, throughput=400))
    assert made.dtype == "bfloat16"
    assert made.assumed == made.total_bytes.assumes == ("dtype",)
    assert plan(unknown, PlanOptions(1000, **GIVEN, throughput=400, dtype="float16")).assumed == ()


def found(speed: float, tokens: int = 128, rate: int = 16) -> MeasuredThroughput:
    return MeasuredThroughput(speed, (speed,) * 3, 64, tokens, rate, "a GPU", "bfloat16")


def test_a_measured_throughput_counts_before_a_given_one(seven: CompressorShape) -> None:
    options = PlanOptions(3600, **GIVEN, throughput=400, mfu=0.5)
    assert plan(seven, options).throughput.note == "as asked; mfu not used"
    made = plan(seven, options, found(100))
    assert made.throughput.value == 100
    assert made.throughput.basis == "measured"
    assert (
        made.throughput.note == "on a GPU in bfloat16, median of 3 rounds; throughput, mfu not used"
    )
    assert made.gpu_hours.value == pytest.approx(0.01)
    assert made.gpu_hours.basis == "computed"


def test_a_throughput_of_other_passages_is_refused(seven: CompressorShape) -> None:
    for other in (found(100, tokens=64), found(100, rate=4)):
        with pytest.raises(
            InputError, match="the plan is for 128 at rate 16: measure it for these"
        ):
            plan(seven, PlanOptions(1000, **GIVEN), other)


def test_measuring_times_passages_of_exactly_so_many_tokens() -> None:
    model = tiny_cocom(CocomConfig(rates=(4, 16)))
    made = measure(model, tokens=50, rate=16, seconds=0.05, rounds=3)
    assert (made.tokens, made.rate, len(made.rounds)) == (50, 16, 3)
    assert min(made.rounds) <= made.passages_per_second <= max(made.rounds)
    assert made.passages / made.passages_per_second > 0.01
    assert made.device.startswith("a CPU")
    assert made.dtype == "float32"


@pytest.mark.parametrize("tokens", [1, 2, 50, 128, 300])
def test_made_up_passages_have_exactly_so_many_tokens(cocom_tiny: Cocom, tokens: int) -> None:
    texts = [passage_of(cocom_tiny, tokens, seed=seed) for seed in range(3)]
    contexts = cocom_tiny.compress(texts)
    assert [sum(w.tokens for w in c.windows) for c in contexts] == [tokens] * 3
    assert tokens < 50 or len(set(texts)) == 3


def test_measuring_refuses_what_cannot_be() -> None:
    model = tiny_cocom()
    with pytest.raises(InputError, match="rounds must be above 0, got 0"):
        measure(model, tokens=8, rounds=0)
    with pytest.raises(ConfigError, match="rate 5 is not among the rates"):
        measure(model, tokens=8, rate=5)


def test_the_command_writes_every_figure_with_its_basis(
    run: Callable[..., str], mistral: Path
) -> None:
    text = run("--passages", "24e6", "--model", mistral, "--rate", 16, "--gpus", 8)
    lines = {line[:18].strip(): line[19:] for line in text.splitlines() if line}
    assert lines["embeddings"].startswith("8 x 4096 bfloat16 = 64 KiB a passage ")
    assert "computed: from the model's config, for 128 tokens" in lines["embeddings"]
    assert lines["all embeddings"].startswith("1.57 TB ")
    assert lines["GPU-hours"].startswith("41.1 on 8 GPUs: 5.14 hours ")
    assert "assumed (--peak, --mfu): 790 TFLOP/s" in lines["throughput"]
    assert lines["cost"].startswith("$103 ")
    last = text.splitlines()[-1]
    assert "--measure on the GPU that will do the work, or give --throughput" in last
    assert "--tokens, --text-bytes, --gpu-price, --storage-price" in last


def test_nothing_assumed_needs_no_advice(run: Callable[..., str], tiny: Path) -> None:
    options = [f"--{k.replace('_', '-')}={v}" for k, v in GIVEN.items()]
    text = run("--passages=10", f"--model={tiny}", "--throughput=4", *options)
    assert text.splitlines()[-1] == "Nothing here is assumed."
    assert "assumed (" not in text


@pytest.mark.parametrize("written", ["24e6", "24_000_000", "24M", "24000k", "0.024b", "2.4E+7"])
def test_large_numbers_are_read_as_people_write_them(
    run: Callable[..., str], tiny: Path, written: str
) -> None:
    report = json.loads(run("--passages", written, "--model", tiny, "--json"))
    assert report["passages"]["value"] == 24_000_000


def test_json_gives_value_unit_basis_and_note_of_each_figure(
    run: Callable[..., str], tiny: Path
) -> None:
    report = json.loads(run("--passages", 1000, "--model", tiny, "--no-text", "--json"))
    figures = {name: value for name, value in report.items() if isinstance(value, dict)}
    assert set(report) - set(figures) == {"model", "dtype", "assumed"}
    for figure in figures.values():
        assert set(figure) == {"value", "unit", "basis", "note", "assumes"}
        assert figure["basis"] in ("measured", "given", "computed", "assumed")
        assert (figure["basis"] == "assumed") == bool(figure["assumes"])
        assert figure["unit"]
        assert figure["note"]
    assert report["text_bytes"]["value"] == 0
    assert "text_bytes" not in report["assumed"]
    parts = ("embedding_bytes", "text_bytes", "index_bytes")
    assert report["total_bytes"]["value"] == sum(report[name]["value"] for name in parts)


def test_the_command_measures_the_model_it_loads(
    run: Callable[..., str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(measure, seconds=0.02, rounds=3)
    monkeypatch.setattr(throughput, "measure", quick)
    arguments = (
        "--passages=1000",
        f"--model={tiny}",
        "--tokens=40",
        "--measure",
        "--dtype=bfloat16",
    )
    report = json.loads(run(*arguments, "--json"))
    assert report["throughput"]["basis"] == "measured"
    assert report["throughput"]["value"] > 0
    assert "on a CPU" in report["throughput"]["note"]
    assert "in bfloat16" in report["throughput"]["note"]
    assert report["gpu_hours"]["basis"] == "computed"
    assert not {"peak", "mfu"} & set(report["assumed"])
    assert "measured on a CPU" in run(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--passages=0"], "passages must be a whole number from 1"),
        (["--passages=1.5"], "must be a whole number such as 24e6, 24_000_000 or 24M, got '1.5'"),
        (["--passages=many"], "got 'many'"),
        (["--passages=1e99"], "passages must be a whole number from 1 to 1e\\+15"),
        (["--tokens=0"], "tokens must be a whole number from 1"),
        (["--gpus=0"], "gpus must be a whole number from 1"),
        (["--rate=5"], "rate 5 is not among the rates this model serves, 4, 16, 128"),
        (["--rate=5", "--measure"], "rate 5 is not among the rates"),
        (["--gpu-price=-1"], "gpu_price must be a number from 0, got -1.0"),
        (["--storage-price=nan"], "storage_price must be a number from 0, got nan"),
        (["--throughput=0"], "throughput must be a number above 0, got 0.0"),
        (["--peak=inf"], "peak must be a number above 0, got inf"),
        (["--mfu=1.2"], "mfu is a share of the peak and must be at most 1, got 1.2"),
        (["--dtype=int4"], "dtype must be one of float32, bfloat16, float16, got 'int4'"),
        (["--no-text", "--text-bytes=5"], "text_bytes is 5.0, but texts are not kept"),
        (["--device=cpu"], "--device cpu tells where to measure: add --measure"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(
    run: Callable[..., str], tiny: Path, arguments: list[str], message: str
) -> None:
    if not any(argument.startswith("--passages") for argument in arguments):
        arguments = ["--passages=10", *arguments]
    with pytest.raises((InputError, ConfigError), match=message):
        run(f"--model={tiny}", *arguments)


def test_quantization_is_one_of_those_of_the_store() -> None:
    assert get_args(plan_options.Quantization) == get_args(quantization.Quantization)
    assert [kind.value for kind in index_plan.Quantization] == list(
        get_args(quantization.Quantization)
    )
    with pytest.raises(InputError, match="quantization must be one of none, int8, fp8, got 'int4'"):
        PlanOptions(1, quantization="int4")  # type: ignore[arg-type]


def test_a_damaged_config_is_reported(tmp_path: Path) -> None:
    folder = configs_only(tmp_path / "model", MistralConfig(), CocomConfig())
    (folder / "backbone/config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model/backbone/config.json' cannot be read"):
        shape_of(folder)


def test_importing_the_planner_loads_no_torch() -> None:
    names = ("plan", "shape", "throughput")
    modules = (*(f"indexing.planning.{name}" for name in names), "cli.index_plan")
    imports = "".join(f"import cocom.{name}; " for name in modules)
    code = f"{imports}import sys; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
