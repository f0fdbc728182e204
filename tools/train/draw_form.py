"""Draws tools/train/form.png: a held-out invoice with the fields that layoutlmv2-forms finds, from its expected.json.

    python tools/train/draw_form.py [FILE of tests/data/trained/layoutlmv2-forms]
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"
COLOURS = {"VENDOR": "#1f77b4", "CUSTOMER": "#9467bd", "NUMBER": "#d62728", "DATE": "#2ca02c", "TOTAL": "#ff7f0e"}
TOOLS = Path(__file__).resolve().parent
TRAINED = TOOLS.parent.parent / "tests" / "data" / "trained" / "layoutlmv2-forms"


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "invoice0.png"
    for row in json.loads((TRAINED / "expected.json").read_text()):
        if row["arguments"] == {"aggregation_strategy": "simple"} and name in row["inputs"]:
            fields = row["outputs"][row["inputs"].index(name)]
    image = Image.open(TRAINED / name).convert("RGB")
    pen, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 11)
    for field in fields:
        x0, y0, x1, y1 = (value / 1000 * image.size[i % 2] for i, value in enumerate(field["box"]))
        colour, label = COLOURS[field["entity_group"]], f"{field['entity_group']} {field['score']:.2f}"
        pen.rectangle((x0 - 4, y0 - 4, x1 + 4, y1 + 4), outline=colour, width=2)
        width = font.getlength(label) + 6
        left = x1 + 4 if x1 + 4 + width < image.size[0] else x0 - 4 - width
        pen.rectangle((left, y0 - 4, left + width, y0 + 11), fill=colour)
        pen.text((left + 3, y0 - 3), label, font=font, fill="white")
    image.quantize(64).save(TOOLS / "form.png", optimize=True)


if __name__ == "__main__":
    main()
