"""Loads the documents that questions are asked about: text, Markdown, HTML, PDF and JSON lines.

PDF files are read with ``pypdf``. HTML is parsed by ``lxml``, which closes open tags as a browser
does, and turned into Markdown by ``markdownify`` on top of ``beautifulsoup4``. None of these uses a
model or a network. ``markitdown[pdf]`` was the alternative. It reads more formats, but it brings 25
packages and over 200 MB (an ONNX runtime and a file-type classifier among them) and does not tell
the pages of a PDF apart. The libraries are imported when the first file of their format is read.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import DataError, InputError

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["SUFFIXES", "Document", "document_files", "load_documents"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Document:
    """A text to ask questions about, and where it comes from.

    Attributes:
        text: The text, never blank; of HTML files as Markdown.
        source: The path as given, with ``#page=3`` for a page of a PDF file and ``#L12`` for a
            line of a JSON lines file.
        metadata: What else the file says: ``title``, ``page``, and the fields of a JSON object.
    """

    text: str
    source: str
    metadata: Mapping[str, object] = field(default_factory=dict)


def load_documents(paths: Sequence[str | Path]) -> list[Document]:
    """Loads documents from files and folders.

    Folders are searched with all their subfolders, in the order of the names; hidden files and
    files with other suffixes are passed over. A file named twice is loaded once.

    Args:
        paths: Files (.txt, .md, .html, .htm, .pdf, .jsonl) and folders of such files.

    Returns:
        The documents in the order of the paths: one for each file, for each page of a PDF file
        that has text, and for each line of a JSON lines file.

    Raises:
        InputError: If there are no paths, if a path does not exist, is of an unknown format or
            cannot be opened, or if a folder has no documents.
        DataError: If a file has no text or is not what its suffix says.
    """
    if isinstance(paths, str | Path):
        raise InputError(f"'{paths}' is a single path: give a list of paths, even for one.")
    if not paths:
        raise InputError("There are no documents to load: give at least one file or folder.")
    documents: list[Document] = []
    seen: set[Path] = set()
    for path in paths:
        for file in document_files(path):
            identity = file.resolve()
            if identity not in seen:
                seen.add(identity)
                documents += _LOADERS[file.suffix.lower()](file)
    return documents


def document_files(path: str | Path) -> list[Path]:
    """The files that `load_documents` loads for a path: the path itself, or the documents in that folder.

    Raises:
        InputError: If the path does not exist or is of an unknown format, or if a folder has no documents.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _is_document(file, path))
        if not found:
            raise InputError(
                f"The folder '{path}' has no documents: put files with one of the suffixes "
                f"{_listed(SUFFIXES)} there."
            )
        return found
    if not path.exists():
        raise InputError(f"There is no file or folder '{path}': check the path.")
    if path.suffix.lower() not in _LOADERS:
        raise InputError(
            f"'{path}' has the suffix '{path.suffix}', which is not supported: convert it to one "
            f"of {_listed(SUFFIXES)}."
        )
    return [path]


def _is_document(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in _LOADERS and not file.is_dir()


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items)


def _read_bytes(file: Path) -> bytes:
    """The contents of a file that must have some."""
    if file.exists() and not file.is_file():
        raise InputError(f"'{file}' is not a regular file: give a file or a folder.")
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"'{file}' cannot be read ({reason}): make it readable or leave it out."
        ) from error
    if not data.strip():
        raise DataError(f"'{file}' is empty: fill it or leave it out.")
    return data


def _decode(data: bytes, file: Path) -> str:
    """The text of a UTF-8 file, with plain line feeds and without a byte order mark."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}:{line}: byte 0x{data[error.start]:02x} is not UTF-8: save the file with the "
            "encoding UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{file}:{line}: a NUL character, so this is not a text in UTF-8: save the file as "
            "text with the encoding UTF-8."
        )
    if not text.strip():
        raise DataError(f"'{file}' is empty: fill it or leave it out.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _load_text(file: Path) -> list[Document]:
    return [Document(_decode(_read_bytes(file), file).strip(), str(file))]


def _load_html(file: Path) -> list[Document]:
    """Headings, lists and tables stay, as Markdown; scripts, styles and navigation go."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=["a", "b", "em", "i", "img", "strong"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        wrap=True,  # with no width: joins the lines of a paragraph
        wrap_width=None,
    )
    data = _read_bytes(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # XHTML, and texts that look like paths
            soup = BeautifulSoup(_decode_html(data, file), "lxml")
            title = " ".join(soup.title.get_text().split()) if soup.title else ""
            for tag in soup(["head", "nav", "noscript", "script", "style", "svg", "template"]):
                tag.decompose()
            text = converter.convert_soup(soup).strip()
    except RecursionError as error:
        raise DataError(
            f"'{file}' has elements nested too deeply: save the page as text instead."
        ) from error
    if not text:
        raise DataError(
            f"'{file}' has no text (a page that a script fills has none in its file): save the "
            "page as a browser shows it, or leave it out."
        )
    return [Document(text, str(file), {"title": title} if title else {})]


def _decode_html(data: bytes, file: Path) -> str:
    """The text of an HTML file, in the encoding that it declares if it is not UTF-8."""
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    try:
        return _decode(data, file)
    except DataError:
        if not declared:
            raise
    try:
        return data.decode(declared)
    except (LookupError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{file}' declares the encoding '{declared}' but cannot be read with it: save the "
            "file with the encoding UTF-8."
        ) from error


def _load_pdf(file: Path) -> list[Document]:
    """One document for each page with text."""
    from io import BytesIO

    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    data = _read_bytes(file)
    try:
        reader = PdfReader(BytesIO(data))
        # Many encrypted files open with an empty password.
        locked = reader.is_encrypted and not reader.decrypt("")
        texts = [] if locked else [_unwrapped(page.extract_text()) for page in reader.pages]
        title = (None if locked else reader.metadata and reader.metadata.title) or ""
    except DependencyError:
        locked, texts, title = True, [], ""
    except Exception as error:  # a damaged file fails in many ways, not all of them pypdf's own
        raise DataError(
            f"'{file}' is not a readable PDF file ({type(error).__name__}: {error}): save it "
            "anew or leave it out."
        ) from error
    if locked:
        raise DataError(f"'{file}' is encrypted: save a copy without a password.")
    if not any(texts):
        raise DataError(
            f"'{file}' has no text on its {len(texts)} pages, so it is probably scanned: run text "
            "recognition (OCR) on it first."
        )
    shared = {"title": title.strip()} if title.strip() else {}
    _warn_of_pictures(reader, texts, file)
    return [
        Document(text, f"{file}#page={number}", {**shared, "page": number})
        for number, text in enumerate(texts, start=1)
        if text
    ]


def _warn_of_pictures(reader: PdfReader, texts: Sequence[str], file: Path) -> None:
    """Logs the pages that may hold text which only text recognition could read."""
    for number, (page, text) in enumerate(zip(reader.pages, texts, strict=True), start=1):
        if not text and len(page.images) > 0:
            _log.warning("%s#page=%d has pictures but no text: it is left out", file, number)


def _unwrapped(text: str) -> str:
    """Joins the lines of a paragraph, which a PDF page keeps apart.

    A line goes on in the next one if it is nearly as long as the longest of the page and does not
    end a sentence.
    """
    # What cannot be encoded would fail much later, in a tokeniser.
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    lines = [line.strip() for line in text.strip().splitlines()]
    longest = max(map(len, lines), default=0)
    joined = ""
    for line in lines:
        if line.endswith("\N{SOFT HYPHEN}"):
            joined += line[:-1]
        elif len(line) > 0.7 * longest and line[-1] not in ".!?:;。！？؟":
            joined += line + ("" if line.endswith("-") else " ")
        else:
            joined += line + "\n"
    return joined.strip()


def _load_jsonl(file: Path) -> list[Document]:
    """One document for each line: an object with a `text`, the other fields become metadata."""
    text = _decode(_read_bytes(file), file)
    return [
        _parse_line(line, file, number)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _parse_line(line: str, file: Path, number: int) -> Document:
    where = f"{file}:{number}"
    wanted = 'each line needs a JSON object like {"text": "…"}'
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(f"{where}: not valid JSON ({reason}): {wanted}.") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: found a JSON {_kind(fields)}: {wanted}.")
    if "text" not in fields:
        found = _listed([f"'{name}'" for name in fields]) or "none"
        raise DataError(f"{where}: no field 'text' (found {found}): {wanted}.")
    text = fields.pop("text")
    if not isinstance(text, str):
        raise DataError(f"{where}: the field 'text' is a JSON {_kind(text)}: give a string.")
    if not text.strip():
        raise DataError(f"{where}: the field 'text' is empty: fill it or remove the line.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: the field 'text' has half of a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}): write the whole character."
        ) from error
    for name in ("id", "title"):
        if not isinstance(fields.get(name), str | int | None):
            raise DataError(
                f"{where}: the field '{name}' is a JSON {_kind(fields[name])}: give a string."
            )
    return Document(text.strip(), f"{file}#L{number}", fields)


def _kind(value: object) -> str:
    """What JSON calls a value that Python has read from it."""
    return _KINDS.get(type(value), "null")


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
}

_LOADERS: dict[str, Callable[[Path], list[Document]]] = {
    ".txt": _load_text,
    ".md": _load_text,
    ".html": _load_html,
    ".htm": _load_html,
    ".pdf": _load_pdf,
    ".jsonl": _load_jsonl,
}

SUFFIXES = tuple(_LOADERS)
