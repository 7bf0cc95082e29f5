"""`cocom index` on the shipped model: what each subcommand writes, where to, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cocom import Cocom, DiskStore, load_contexts
from cocom.cli import main
from cocom.indexing.build import build_index
from cocom.indexing.sources import open_source

SENTENCES = [
    "Ada was born in Rome in 1901.",
    "Bo plays the harp in Oslo.",
    "Cy sells lamps in Lima.",
    "Di paints boats in Bern.",
]
WRONG = '{"text": 7}'


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@pytest.fixture
def index(capsys, monkeypatch) -> Callable[..., Done]:
    """Runs `cocom index` in this process, exactly as its entry point does."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["cocom", "index", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return run


def folder(path: Path, sentences: list[str]) -> Path:
    path.mkdir()
    for number, sentence in enumerate(sentences):
        (path / f"{number}.txt").write_text(sentence, encoding="utf-8")
    return path


def jsonl(path: Path, sentences: list[str]) -> Path:
    file = path.with_suffix(".jsonl")
    lines = [
        s if s == WRONG else json.dumps({"id": f"p{i}", "text": s}) for i, s in enumerate(sentences)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def parquet(path: Path, sentences: list[str]) -> Path:
    pyarrow: Any = pytest.importorskip("pyarrow")
    pq: Any = pytest.importorskip("pyarrow.parquet")
    file = path.with_suffix(".parquet")
    pq.write_table(pyarrow.table({"passage": sentences}), file)
    return file


def texts(store: Path, namespace: str = "") -> set[str | None]:
    with DiskStore(store, read_only=True) as opened:
        return {entry.text for _, entry in opened.namespace(namespace).items()}


@pytest.fixture
def built(index, tmp_path) -> Path:
    """A store of all sentences, made from JSON lines."""
    assert index("build", jsonl(tmp_path / "data", SENTENCES), tmp_path / "store").returncode == 0
    return tmp_path / "store"


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, cocom_tiny) -> Path:
    """A folder with a source, `data.jsonl`, and a store of it, for commands that are refused."""
    path: Path = tmp_path_factory.mktemp("unchanged")
    source = open_source(str(jsonl(path / "data", SENTENCES)))
    with DiskStore.create(path / "store") as store:
        build_index(cocom_tiny, store, source)
    return path


# --- build and update --------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [folder, jsonl, parquet])
def test_build_compresses_a_source_and_keeps_it_the_second_time(
    index, tmp_path, cocom_tiny, write
) -> None:
    source = write(tmp_path / "data", SENTENCES)
    first = index("build", source, tmp_path / "store", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    figures = first.json
    assert figures.pop("seconds") > 0
    assert figures == {
        "source": str(source),
        "store": str(tmp_path / "store"),
        "namespace": "",
        "rate": 4,
        "fingerprint": cocom_tiny.fingerprint,
        "in_store": 4,
        "passages": 4,
        "new": 4,
        "kept": 0,
        "failed": 0,
        "dropped": 0,
        "recovered": 0,
        "not_dropped": None,
        "failures": [],
    }
    assert texts(tmp_path / "store") == set(SENTENCES)
    second = index("build", source, tmp_path / "store", "--batch-size", 3, "--json").json
    assert (second["new"], second["kept"], second["in_store"]) == (0, 4, 4)


def test_what_build_compressed_is_what_the_model_compresses(built, cocom_tiny) -> None:
    with DiskStore(built) as store:
        entries = {entry.text: entry for _, entry in store.items()}
    for made in cocom_tiny.compress(SENTENCES):
        kept = entries[made.passage.text].contexts
        assert kept is not None
        assert kept.windows == made.windows
        assert (kept.embeddings - made.embeddings).abs().max() < 1e-4


def test_build_tells_people_what_it_did(index, tmp_path) -> None:
    source = jsonl(tmp_path / "data", [*SENTENCES, SENTENCES[0]])
    arguments = (
        source,
        tmp_path / "store",
        "--namespace",
        "de",
        "--rate",
        16,
        "--quantization",
        "int8",
    )
    done = index("build", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("5 passages read: 4 compressed, 1 there already, 0 failed, 0 deleted; ")
    assert second == f"The store '{tmp_path / 'store'}' holds 4 passages in namespace 'de'."
    assert texts(tmp_path / "store", "de") == set(SENTENCES)


def test_build_without_texts_keeps_none(index, tmp_path) -> None:
    source = jsonl(tmp_path / "data", SENTENCES)
    assert index("build", source, tmp_path / "store", "--no-text").returncode == 0
    assert texts(tmp_path / "store") == {None}
    assert index("build", source, tmp_path / "store").returncode == 0
    assert index("stats", tmp_path / "store").stdout.startswith(
        f"The store '{tmp_path / 'store'}', without texts, quantization none\n"
    )


def test_failures_are_reported_and_the_rest_is_in_the_store(index, tmp_path) -> None:
    source = jsonl(tmp_path / "data", [*SENTENCES[:2], WRONG, *SENTENCES[2:]])
    done = index("build", source, tmp_path / "store")
    assert done.returncode == 1
    assert "5 passages read: 4 compressed, 0 there already, 1 failed" in done.stdout
    assert "Failed\n  data.jsonl:3: data.jsonl:3: the field 'text' is a number" in done.stdout
    assert texts(tmp_path / "store") == set(SENTENCES)
    again = index("build", source, tmp_path / "store", "--json")
    assert again.returncode == 1
    assert [failure["key"] for failure in again.json["failures"]] == ["data.jsonl:3"]
    listed = index("stats", tmp_path / "store", "--failures")
    assert listed.returncode == 0
    assert f"failed in '', {source}, data.jsonl:3: data.jsonl:3: the field 'text'" in listed.stdout


def test_a_report_says_how_many_more_failed(index, tmp_path) -> None:
    done = index("build", jsonl(tmp_path / "data", [*SENTENCES, *[WRONG] * 23]), tmp_path / "store")
    assert done.returncode == 1
    assert "\n  and 3 more: see `cocom index stats --failures`.\n" in done.stdout


def test_failures_are_listed_where_nothing_else_is(index, tmp_path) -> None:
    source = jsonl(tmp_path / "data", [WRONG, WRONG])
    assert index("build", source, tmp_path / "store", "--text-field", "text").returncode == 1
    found = index("stats", tmp_path / "store", "--failures", "--json").json
    assert [row["key"] for row in found["failures"]] == ["data.jsonl:1", "data.jsonl:2"]
    assert found["namespaces"][""]["passages"] == 0
    assert found["namespaces"][""]["sources"][0]["failures"] == 2


def test_update_deletes_what_vanished(index, built, tmp_path) -> None:
    source = jsonl(tmp_path / "data", [*SENTENCES[1:3], "Ed fixes clocks."])
    done = index("update", source, built, "--json")
    assert done.returncode == 0
    assert [done.json[name] for name in ("passages", "new", "kept", "dropped")] == [3, 1, 2, 2]
    assert texts(built) == {*SENTENCES[1:3], "Ed fixes clocks."}
    assert "2 deleted" not in index("update", source, built).stdout


def test_update_deletes_nothing_if_a_part_cannot_be_read(index, built, tmp_path) -> None:
    source = jsonl(tmp_path / "data", [*SENTENCES[:2], WRONG])
    done = index("update", source, built)
    assert done.returncode == 1
    assert "Nothing was deleted: 1 items of the source could not be read" in done.stdout
    assert "mend them, or drop anyway with --drop-anyway.\n" in done.stdout
    assert texts(built) == set(SENTENCES)
    assert index("update", source, built, "--drop-anyway", "--json").json["dropped"] == 2
    assert texts(built) == set(SENTENCES[:2])


def test_an_interrupted_build_goes_on(index, tmp_path, monkeypatch) -> None:
    source = jsonl(tmp_path / "data", SENTENCES)
    real = Cocom.compress

    def compress(self: Cocom, passages: list[str], **options: Any) -> Any:
        if SENTENCES[2] in passages:
            raise KeyboardInterrupt
        return real(self, passages, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Cocom, "compress", compress)
        done = index("build", source, tmp_path / "store", "--batch-size", 2)
    assert done.returncode == 130
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert "not read to its end" in index("stats", tmp_path / "store").stdout
    again = index("build", source, tmp_path / "store", "--json").json
    assert (again["new"], again["kept"]) == (2, 2)


@pytest.mark.parametrize("as_json", [False, True])
def test_progress_goes_to_standard_error_only(index, tmp_path, monkeypatch, as_json) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    text = " ".join(f"Lamp {number} is in room {number * 7}." for number in range(100))
    source = folder(tmp_path / "data", [text])  # one file, so it is at 100 % from the first on
    options = ["--json"] if as_json else []
    done = index("build", source, tmp_path / "store", "--batch-size", 2, *options)
    assert done.returncode == 0
    assert "\r" not in done.stdout
    lines = done.stderr.split("\r")
    assert len(lines) > 3
    assert " passages: 2 new, 0 kept, 0 failed, " in lines[1]
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    if as_json:
        assert done.json["new"] > 3


def test_progress_is_told_now_and_then_without_a_terminal(index, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cocom.cli.index_build._SECONDS", 0.0)
    done = index("build", jsonl(tmp_path / "data", SENTENCES), tmp_path / "store", "--json")
    assert done.json["new"] == 4
    first = done.stderr.splitlines()[0]
    assert first.startswith("4 passages: 4 new, 0 kept, 0 failed, ")
    assert first.endswith(" a second, 100%, 0:00 left")


def test_a_line_of_progress_is_ended_before_an_error(index, built, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (tmp_path / "corpus.py").write_text(
        "def read():\n    yield 'One.'\n    yield 'Two.'\n    1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    done = index("build", "python:corpus:read", built, "--batch-size", 1)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "cocom: 'python:corpus:read' failed at document 3"
    )


# --- stats, verify and export ------------------------------------------------------------------------


def test_stats_tells_what_a_store_holds(index, built, tmp_path, cocom_tiny) -> None:
    more = jsonl(tmp_path / "more", SENTENCES[:1])
    assert index("build", more, built, "--rate", 16, "--namespace", "b").returncode == 0
    text = index("stats", built).stdout
    assert f"The store '{built}', with texts, quantization none\n" in text
    model = cocom_tiny.fingerprint[:12]
    dtype = str(cocom_tiny.backbone.dtype).removeprefix(
        "torch."
    )  # bfloat16 where the CPU is good at it
    assert f"namespace '': 4 passages\n    4 by model {model} at rate 4: 256 x {dtype}\n" in text
    assert f"from {tmp_path / 'data.jsonl'}: 4 at rate 4, 0 failed\n" in text
    found = index("stats", built, "--json").json
    assert {name: part["passages"] for name, part in found["namespaces"].items()} == {"": 4, "b": 1}
    (kind,) = found["namespaces"]["b"]["kinds"]
    assert (kind["rate"], kind["fingerprint"], kind["passages"]) == (16, cocom_tiny.fingerprint, 1)
    assert (found["shards"], found["unused"], found["recent"]) == (2, 0.0, 0)
    assert found["shard_bytes_on_disk"] == sum(
        p.stat().st_size for p in (built / "shards").iterdir()
    )
    assert "failures" not in found


def damage(store: Path) -> None:
    """Change a byte of the embeddings of a store's only shard."""
    (shard,) = (store / "shards").glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    begin, _ = json.loads(content[8:header])["embeddings"]["data_offsets"]
    content[header + begin] ^= 1
    shard.write_bytes(content)


def test_verify_finds_damage_and_repairs_it(index, built, tmp_path) -> None:
    good = index("verify", built)
    assert (good.returncode, good.stdout) == (0, "4 passages are as they were written.\n")
    damage(built)
    bad = index("verify", built)
    assert bad.returncode == 1
    assert bad.stdout.startswith("3 passages are as they were written.\n")
    assert "are damaged" in bad.stdout
    assert bad.stdout.endswith("Run `cocom index verify --repair` to mend it.\n")
    assert len(index("verify", built, "--json").json["problems"]) == 1
    mended = index("verify", built, "--repair")
    assert (mended.returncode, mended.stdout.endswith("Repaired.\n")) == (0, True)
    assert index("verify", built, "--json").json == {
        "passages": 3,
        "problems": [],
        "unlisted": [],
        "repaired": False,
    }
    again = index("build", tmp_path / "data.jsonl", built, "--json").json
    assert (again["new"], again["kept"]) == (1, 3)


def test_export_writes_what_load_contexts_reads(index, built, tmp_path, cocom_tiny) -> None:
    done = index("export", built, tmp_path / "out", "--part-passages", 3, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in paths] == ["part-00000.safetensors", "part-00001.safetensors"]
    assert done.json == {
        "store": str(built),
        "out": str(tmp_path / "out"),
        "format": "safetensors",
        "passages": 4,
        "files": 2,
        "bytes": sum(path.stat().st_size for path in paths),
    }
    contexts = [made for path in paths for made in load_contexts(path)]
    assert {made.passage.text for made in contexts if made.passage} == set(SENTENCES)
    with DiskStore(built) as store:
        for made in contexts:
            assert made.passage is not None
            kept = store[made.passage.id or ""].contexts
            assert kept is not None
            assert kept.embeddings.equal(made.embeddings)
    assert cocom_tiny.answer("Where is Bo?", contexts, max_new_tokens=4).usage.context_rows > 0


def test_export_writes_parquet(index, built, tmp_path, cocom_tiny) -> None:
    pq: Any = pytest.importorskip("pyarrow.parquet")
    done = index("export", built, tmp_path / "out", "--format", "parquet", "--rate", 4)
    (path,) = (tmp_path / "out").iterdir()
    assert done.stdout == (
        f"4 passages written to '{tmp_path / 'out'}': 1 parquet file, {path.stat().st_size:,} bytes.\n"
    )
    table = pq.read_table(path)
    assert set(table["text"].to_pylist()) == set(SENTENCES)
    dtype = str(cocom_tiny.backbone.dtype).removeprefix("torch.")
    assert set(table["dtype"].to_pylist()) == {dtype}


def test_export_tells_a_terminal_how_far_it_is(index, built, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = index("export", built, tmp_path / "out")
    assert done.stdout.startswith("4 passages written")
    assert "\r4 of 4 passages" in done.stderr
    assert index("export", built, tmp_path / "again", "--json").stderr == ""


def test_plan_counts_what_a_corpus_takes(index) -> None:
    plan = index("plan", "--passages", "1M", "--rate", 16, "--json")
    assert plan.returncode == 0
    assert "1000000" in plan.stdout


# --- wrong usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("update", "{data}", "{tmp}/none"), "there is no store at '{tmp}/none'"),
        (("stats", "{tmp}/none"), "there is no store at '{tmp}/none'"),
        (("verify", "{tmp}/none"), "there is no store at '{tmp}/none'"),
        (("verify", "{tmp}/none", "--repair"), "there is no store at '{tmp}/none'"),
        (("export", "{tmp}/none", "{tmp}/out"), "there is no store at '{tmp}/none'"),
        (("build", "{tmp}/none", "{tmp}/new"), "there is no file or folder '{tmp}/none'"),
        (("build", "{data}", "{tmp}/new", "--rate", "7"), "rate 7 is not among the rates"),
        (
            ("build", "{data}", "{tmp}/new", "--batch-tokens", "0"),
            "--batch-tokens must be at least 1",
        ),
        (("build", "{data}", "{tmp}/new", "--batch-size", "0"), "--batch-size must be at least 1"),
        (("build", "{data}", "{tmp}/new", "--workers", "2"), "add --engine ray, or leave them out"),
        (
            ("build", "{data}", "{store}", "--quantization", "int8"),
            "was made with quantization='none'",
        ),
        (("build", "{data}", "{store}", "--no-text"), "was made with texts=True, but texts=False"),
        (("update", "{data}", "{store}", "--rate", "7"), "rate 7 is not among the rates"),
        (("export", "{store}", "{tmp}"), "'{tmp}' is not empty, it holds data.jsonl"),
        (
            ("export", "{store}", "{tmp}/out", "--rate", "128"),
            "has no passages with rate 128: it has 4",
        ),
        (
            ("export", "{store}", "{tmp}/out", "--part-passages", "0"),
            "part_passages must be at least 1",
        ),
    ],
)
def test_wrong_usage_is_one_sentence(index, unchanged, arguments, message) -> None:
    names = {"data": unchanged / "data.jsonl", "tmp": unchanged, "store": unchanged / "store"}
    filled = [argument.format(**names) for argument in arguments]
    done = index(*filled)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cocom: ")
    assert message.format(**names) in done.stderr
    assert "Traceback" not in done.stderr
    as_json = index(*filled, "--json")
    assert (as_json.returncode, as_json.stderr) == (1, "")
    assert message.format(**names) in as_json.json["message"]
    assert texts(unchanged / "store") == set(SENTENCES)
    assert sorted(path.name for path in unchanged.iterdir()) == ["data.jsonl", "store"]


def test_a_rate_that_the_model_lacks_makes_no_store(index, tmp_path) -> None:
    source = jsonl(tmp_path / "data", SENTENCES)
    assert index("build", source, tmp_path / "store", "--rate", 7).returncode == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("build",),
        ("build", "a", "b", "--quantization", "int4"),
        ("export", "a", "b", "--format", "csv"),
        ("update", "a", "b", "--quantization", "int8"),
        ("vanish", "a"),
    ],
)
def test_options_that_do_not_exist_are_exit_code_2(index, arguments) -> None:
    assert index(*arguments).returncode == 2
