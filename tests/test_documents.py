"""Documents of every format, the samples that ship with the package, and every refusal."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.errors import DependencyError
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

import cocom
from cocom.documents import SUFFIXES, Document, load_documents
from cocom.errors import DataError, InputError

SAMPLES = Path(cocom.__file__).parent / "samples"


def pdf_bytes(*, pages: int = 1, password: str | None = None) -> bytes:
    """A PDF file of blank pages."""
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=100, height=100)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def text_pdf(path: Path, *pages: list[str]) -> None:
    """Writes a PDF file with the given lines on each page; a page of no lines is blank."""
    pdf = PdfWriter()
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    names = DictionaryObject({NameObject(key): NameObject(name) for key, name in font.items()})
    fonts = DictionaryObject({NameObject("/F1"): names})
    for lines in pages:
        page = pdf.add_blank_page(width=600, height=800)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 14 TL 20 700 Td {shown} ET".encode())
        page[NameObject("/Contents")] = stream
    pdf.write(path)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# What is read


def test_every_sample_document_is_read() -> None:
    documents = load_documents([SAMPLES / "documents"])
    names = [Path(document.source).name for document in documents]
    assert names == [
        "brooklyn_bridge.pdf#page=1",
        "brooklyn_bridge.pdf#page=2",
        "marie_curie.txt",
        "organisations_and_events.jsonl#L1",
        "organisations_and_events.jsonl#L2",
        "organisations_and_events.jsonl#L3",
        "sony_walkman.txt",
        "sydney_opera_house.md",
        "voyager_1.html",
    ]
    assert all(80 <= len(document.text.split()) <= 400 for document in documents)


def test_every_sample_question_has_its_answer_in_its_source() -> None:
    documents = load_documents([SAMPLES / "documents"])
    texts = {Path(document.source).name: document.text for document in documents}
    lines = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len(questions) == len({question["question"] for question in questions}) == 40
    for question in questions:
        assert question.keys() == {"question", "answer", "source"}
        assert question["answer"] in texts[question["source"]], question


def test_text_and_markdown_are_kept_as_they_are(tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", b"\xef\xbb\xbf\xec\x84\x9c\xec\x9a\xb8\r\n  two\rthree\n\n")
    markdown = write(tmp_path / "B.MD", "# Title\n\n*text*\n")
    assert load_documents([str(text), markdown]) == [
        Document("서울\n  two\nthree", str(text)),
        Document("# Title\n\n*text*", str(markdown)),
    ]


def test_html_becomes_markdown(tmp_path: Path) -> None:
    page = """<?xml version="1.0"?><html><head><title>A
    page</title><style>p {}</style></head><body><nav>Menu</nav><h2>Head</h2>
    <p>One <b>bold</b>
    line.</p><script>alert(1)</script><ul><li>first<li>second</ul>2 * 3 and a_b
    <table><tr><th>a<th>b<tr><td>1<td>2</table></body></html>"""
    (document,) = load_documents([write(tmp_path / "a.htm", page)])
    assert document.metadata == {"title": "A page"}
    assert document.text == (
        "## Head\n\nOne bold line.\n\n- first\n- second\n\n"
        "2 * 3 and a_b\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    )


def test_html_may_declare_another_encoding(tmp_path: Path) -> None:
    page = '<meta charset="euc-kr"><p>서울은 한국의 수도이다.</p>'.encode("euc-kr")
    (document,) = load_documents([write(tmp_path / "a.html", page)])
    assert document.text == "서울은 한국의 수도이다."


def test_pdf_pages_are_documents_of_joined_lines(tmp_path: Path) -> None:
    first = ["A title", "This line of the page is long and goes on", "below. The end", "Next"]
    text_pdf(tmp_path / "a.pdf", first, [], ["Third page."])
    source = f"{tmp_path}/a.pdf#page="
    assert load_documents([tmp_path / "a.pdf"]) == [
        Document(
            "A title\nThis line of the page is long and goes on below. The end\nNext",
            f"{source}1",
            {"page": 1},
        ),
        Document("Third page.", f"{source}3", {"page": 3}),
    ]


def test_a_pdf_with_an_empty_password_is_read(tmp_path: Path) -> None:
    text_pdf(tmp_path / "a.pdf", ["Open to all."])
    writer = PdfWriter(clone_from=tmp_path / "a.pdf")
    writer.encrypt("", owner_password="owner", algorithm="RC4-128")
    writer.write(tmp_path / "a.pdf")
    assert load_documents([tmp_path / "a.pdf"])[0].text == "Open to all."


def test_jsonl_fields_become_metadata(tmp_path: Path) -> None:
    lines = '{"text": " a\\n b ", "id": 7, "title": "T", "year": 1999}\n\n{"text": "c\u2028d"}\n'
    file = write(tmp_path / "a.jsonl", lines)
    assert load_documents([file]) == [
        Document("a\n b", f"{file}#L1", {"id": 7, "title": "T", "year": 1999}),
        Document("c\u2028d", f"{file}#L3"),
    ]


def test_a_folder_is_read_in_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.md", "a.txt", "c.docx", ".hidden.txt", ".git/x.txt"):
        write(tmp_path / name, name)
    (tmp_path / "folder.txt").mkdir()
    documents = load_documents([tmp_path / "b" / "z.txt", tmp_path])
    assert [document.text for document in documents] == ["b/z.txt", "a.txt", "b/a.md"]


def test_a_hidden_file_is_read_when_it_is_named(tmp_path: Path) -> None:
    assert load_documents([write(tmp_path / ".a.txt", "seen")])[0].text == "seen"


def test_importing_loads_no_reader() -> None:
    code = "import sys, cocom.documents; print([m for m in sys.modules if m in {'bs4', 'pypdf'}])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# What is refused


def test_no_paths() -> None:
    with pytest.raises(InputError, match="no documents to load: give at least one file or folder"):
        load_documents([])


def test_a_single_path_instead_of_a_list() -> None:
    with pytest.raises(InputError, match=r"'a\.txt' is a single path: give a list"):
        load_documents("a.txt")


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder '.*none\.txt': check the path"):
        load_documents([tmp_path / "none.txt"])


def test_folder_without_documents_lists_the_suffixes(tmp_path: Path) -> None:
    write(tmp_path / "a.docx", "x")
    with pytest.raises(InputError, match="has no documents: .* " + re.escape(", ".join(SUFFIXES))):
        load_documents([tmp_path])


@pytest.mark.parametrize("name", ["a.docx", "noend"])
def test_unsupported_suffix(tmp_path: Path, name: str) -> None:
    expected = f"{name}' has the suffix '{Path(name).suffix}', which is not supported: convert it"
    with pytest.raises(InputError, match=re.escape(expected)):
        load_documents([write(tmp_path / name, "x")])


def test_a_broken_link_in_a_folder_is_not_dropped(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "good")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(InputError, match=r"b\.txt' cannot be read \(No such file or directory\)"):
        load_documents([tmp_path])


def test_a_bad_file_among_good_ones_is_not_dropped(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "good")
    write(tmp_path / "b.txt", "")
    with pytest.raises(DataError, match=r"b\.txt' is empty: fill it or leave it out"):
        load_documents([tmp_path])


REFUSED: list[tuple[str, bytes | str, str]] = [
    ("a.txt", "", "a.txt' is empty"),
    ("a.md", " \n\t", "a.md' is empty"),
    ("a.txt", b"\xef\xbb\xbf", "a.txt' is empty"),
    ("a.jsonl", "\n\n", "a.jsonl' is empty"),
    ("a.txt", "good\nna\u00efve".encode("latin-1"), "a.txt:2: byte 0xef is not UTF-8: save the"),
    ("a.md", "text".encode("utf-16-le"), "a.md:1: a NUL character, so this is not a text in"),
    ("a.html", "<p>\u00e9</p>".encode("latin-1"), "a.html:1: byte 0xe9 is not UTF-8"),
    ("a.html", b'<meta charset="klingon"><p>\xff', "declares the encoding 'klingon' but cannot"),
    ("a.html", "<script>let a</script>", "a.html' has no text"),
    ("a.html", "<div>" * 5000 + "x", "a.html' has elements nested too deeply"),
    ("a.pdf", "%PDF-1.7 rubbish", "a.pdf' is not a readable PDF file ("),
    (
        "a.pdf",
        pdf_bytes(pages=2),
        "has no text on its 2 pages, so it is probably scanned: run text",
    ),
    ("a.pdf", pdf_bytes(password="secret"), "a.pdf' is encrypted: save a copy without a password"),
    ("a.jsonl", '{"text": "a"}\n{"text": ', "a.jsonl:2: not valid JSON (Expecting value): each"),
    ("a.jsonl", "[" * 100_000, "a.jsonl:1: not valid JSON (RecursionError)"),
    ("a.jsonl", '{"text": "a"}\n\n["b"]', "a.jsonl:3: found a JSON array: each line needs"),
    ("a.jsonl", "null", "a.jsonl:1: found a JSON null"),
    ("a.jsonl", '{"body": "a", "id": "1"}', "a.jsonl:1: no field 'text' (found 'body', 'id')"),
    ("a.jsonl", '{"text": 1.5}', "a.jsonl:1: the field 'text' is a JSON number: give a string"),
    ("a.jsonl", '{"text": " "}', "a.jsonl:1: the field 'text' is empty: fill it or remove the"),
    ("a.jsonl", '{"text": "\\ud800"}', "a.jsonl:1: the field 'text' has half of a surrogate pair"),
    ("a.jsonl", '{"text": "a", "id": [1]}', "a.jsonl:1: the field 'id' is a JSON array: give a"),
    ("a.jsonl", '{"text": "a", "title": {}}', "a.jsonl:1: the field 'title' is a JSON object"),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED)
def test_unusable_file(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_documents([write(tmp_path / name, content)])
    assert "\n" not in str(caught.value)


def test_a_pdf_whose_encryption_pypdf_cannot_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decrypt(reader: object, password: str) -> None:
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr("pypdf.PdfReader.decrypt", decrypt)
    with pytest.raises(DataError, match=r"a\.pdf' is encrypted: save a copy without a password"):
        load_documents([write(tmp_path / "a.pdf", pdf_bytes(password=""))])


def test_a_page_of_pictures_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_pdf(tmp_path / "a.pdf", ["Some text."], [])
    monkeypatch.setattr("pypdf.PageObject.images", ["picture"])
    with caplog.at_level(logging.WARNING, logger="cocom.documents"):
        load_documents([tmp_path / "a.pdf"])
    assert "a.pdf#page=2 has pictures but no text: it is left out" in caplog.text
