"""Makes core/cocom/samples/documents/brooklyn_bridge.pdf; the same fpdf2 writes the same bytes.

A developer's tool: run ``python scripts/make_sample_pdf.py`` after changing the text below, with
fpdf2 installed (``pip install fpdf2``). The package itself does not need fpdf2.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

TARGET = Path(__file__).parents[1] / "core/cocom/samples/documents/brooklyn_bridge.pdf"
TITLE = "Brooklyn Bridge"
PAGES = (
    (
        "The Brooklyn Bridge is a suspension bridge in New York City. It crosses the East River. "
        "It connects Manhattan with Brooklyn. Its main span is 486 metres long.",
        "The engineer John Augustus Roebling designed the Brooklyn Bridge. He was born in "
        "Germany. A ferry crushed his foot in 1869 while he was surveying the site. He died of "
        "tetanus in July 1869.",
        "His son Washington Roebling became chief engineer. Construction began in January 1870. "
        "Workers dug the foundations inside large wooden boxes called caissons. Washington "
        "Roebling fell ill with caisson disease in 1872. His wife Emily Warren Roebling carried "
        "his instructions to the builders for more than ten years.",
    ),
    (
        "The Brooklyn Bridge opened on 24 May 1883. President Chester A. Arthur walked across "
        "the bridge on that day. Emily Warren Roebling was the first person to ride across it in "
        "a carriage. Pedestrians paid a toll of one cent.",
        "The Brooklyn Bridge was the first suspension bridge with cables of steel wire. Its "
        "towers are built of granite and limestone. It was the longest suspension bridge in the "
        "world until 1903. In that year the Williamsburg Bridge opened.",
        "In May 1884 the showman P. T. Barnum led 21 elephants across the bridge. He wanted to "
        "show that the bridge was safe. The Brooklyn Bridge became a National Historic Landmark "
        "in 1964.",
    ),
)


def main() -> None:
    """Writes the PDF, two pages of plain paragraphs under a title."""
    pdf = FPDF(format="A4")
    pdf.set_title(TITLE)
    # The date goes into the file and into its identifier.
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))
    for number, paragraphs in enumerate(PAGES):
        pdf.add_page()
        if number == 0:
            pdf.set_font("helvetica", style="B", size=18)
            pdf.cell(text=TITLE, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(4)
        pdf.set_font("helvetica", size=12)
        for paragraph in paragraphs:
            pdf.multi_cell(w=0, text=paragraph, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(4)
    pdf.output(str(TARGET))


if __name__ == "__main__":
    main()
