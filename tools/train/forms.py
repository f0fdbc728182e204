"""Invoices: invented, drawn with Pillow in Debian's DejaVu fonts, and read by Tesseract or by its likeness."""

import functools
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from entities import FIRST, KINDS, LAST, PLACES, STEMS
from PIL import Image, ImageDraw, ImageFont
from phrases import split

os.environ["OMP_THREAD_LIMIT"] = "1"  # Tesseract's own threads
FONTS = "/usr/share/fonts/truetype/dejavu/"  # fonts-dejavu-core
FAMILIES = ["DejaVuSans", "DejaVuSerif", "DejaVuSansMono"]
SIZE = (640, 480)
FIELDS = ["VENDOR", "CUSTOMER", "NUMBER", "DATE", "TOTAL"]
GOODS = """Paper|Blue ink|Desk lamp|Office chair|Copper wire|Printer|Steel bolts|Coffee beans|Window glass|Paint|
Garden hose|Light bulbs|Notebooks|Consulting|Transport|Repair work|Cleaning|Software licence|Training|Insurance|
Oak boards|Cement|Work gloves|Safety boots|Batteries|Air filter|Brake pads|Wine glasses|Tea towels|
Table cloth""".replace("\n", "").split("|")
MONTHS = "January February March April May June July August September October November December".split()
STREETS = ["Main Street", "Station Road", "Park Avenue", "Mill Lane", "High Street", "Harbour Road", "Church Street"]
LISTS = dict(first=FIRST, last=LAST, place=PLACES, stem=STEMS, goods=GOODS)
WORDS = {name: split(values) for name, values in LISTS.items()}  # [seen, held out]


class Sheet:
    """A page of words: (text, x, y, font size, bold, field or None)."""

    def __init__(self):
        self.words = []

    def line(self, x, y, parts, size, bold=False, right=False):
        """Parts one behind the other, each (text, field); x is the left end, or the right one."""
        self.words.append((x, y, parts, size, bold, right))


def company(rng, held_out):
    name = rng.choice(WORDS["stem"][held_out] if rng.random() < 0.6 else WORDS["last"][held_out])
    kind = rng.choice(KINDS)
    return f"{name} {kind}" if rng.random() < 0.8 else f"{name} & {rng.choice(WORDS['last'][held_out])} {kind}"


def person(rng, held_out):
    return f"{rng.choice(WORDS['first'][held_out])} {rng.choice(WORDS['last'][held_out])}"


def date(rng):
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2001, 2029)
    name = MONTHS[month - 1]
    return rng.choice([f"{day} {name} {year}", f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}",
                       f"{name} {day}, {year}", f"{day:02}/{month:02}/{year}"])  # fmt: skip


def number(rng):
    digits = rng.randint(1000, 99999)
    return rng.choice([f"{digits}", f"INV-{digits}", f"{rng.randint(2001, 2029)}-{digits % 1000:03}", f"R{digits}",
                       f"{rng.choice('ABCDEFGHKLMNPRSTUVWXYZ')}-{digits}"])  # fmt: skip


def form(rng, held_out):
    """(sheet, {field: text}). Held out: every name is new."""
    sheet, field = Sheet(), {}
    field["VENDOR"] = company(rng, held_out)
    field["CUSTOMER"] = person(rng, held_out) if rng.random() < 0.5 else company(rng, held_out)
    field["NUMBER"], field["DATE"] = number(rng), date(rng)
    currency = rng.choice(["$", "", "", "EUR ", "GBP "])
    goods = [
        (rng.choice(WORDS["goods"][held_out]), rng.randint(1, 20), rng.randint(100, 30000))
        for _ in range(rng.randint(1, 3))
    ]
    net = sum(count * cents for _, count, cents in goods)
    tax = round(net * rng.choice([0.05, 0.1, 0.19, 0.2])) if rng.random() < 0.7 else 0

    def money(cents):
        return f"{cents / 100:,.2f}" if commas else f"{cents / 100:.2f}"

    commas, size = rng.random() < 0.5, rng.choice([16, 17, 18])
    field["TOTAL"] = currency + money(net + tax)
    colon = rng.choice([":", ":", ""])
    value = lambda key: [(field[key], key)]  # noqa: E731
    head = rng.choice(["INVOICE", "Invoice", "Bill", "Tax invoice", "RECEIPT"])
    number_label = rng.choice(
        ["Invoice no.", "Invoice number", "No.", "Number", "Invoice", "Reference", "Document no."]
    )
    date_label = rng.choice(["Date", "Invoice date", "Issued", "Date of issue", "Dated"])
    customer_label = rng.choice(["Bill to", "Customer", "Sold to", "To", "Client", "Billed to"])
    address = f"{rng.randint(1, 200)} {rng.choice(STREETS)}, {rng.choice(WORDS['place'][held_out])}"
    left, top, right = rng.randint(20, 50), rng.randint(15, 35), SIZE[0] - rng.randint(20, 50)
    step = size + rng.randint(9, 12)

    layout = rng.randrange(4)
    meta = [(number_label, "NUMBER"), (date_label, "DATE")]
    if rng.random() < 0.4:
        meta.append((rng.choice(["Due date", "Payable until", "Due"]), date(rng)))
    if rng.random() < 0.3:
        meta.append((rng.choice(["Order no.", "Customer no.", "Phone"]), str(rng.randint(10000, 999999))))
    rng.shuffle(meta)
    meta = [(label, value(x) if x in field else [(x, None)]) for label, x in meta]
    y = top
    if layout == 0:  # vendor left, title right, number and date below the title
        sheet.line(left, y, value("VENDOR"), size + 6, bold=True)
        sheet.line(right, y, [(head, None)], size + 6, right=True)
        sheet.line(left, y + step + 8, [(address, None)], size - 1)
        y += 2 * step + 20
        sheet.line(left, y, [(customer_label + colon, None)], size, bold=True)
        sheet.line(left, y + step, value("CUSTOMER"), size)
        for i, (label, what) in enumerate(meta):
            sheet.line(right - 290, y + i * step, [(label + colon, None)], size)
            sheet.line(right, y + i * step, what, size, right=True)
        y += max(2, len(meta)) * step + 12
    elif layout == 1:  # title first, then lines of label and value
        sheet.line(left, y, [(head, None)], size + 8, bold=True)
        y += step + 16
        vendor_label = rng.choice(["From", "Seller", "Vendor", "Supplier"])
        lines = [(vendor_label, value("VENDOR")), (customer_label, value("CUSTOMER")), *meta]
        indent = left + rng.choice([160, 180, 200])
        for label, what in lines:
            sheet.line(left, y, [(label + colon, None)], size)
            sheet.line(indent, y, what, size)
            y += step
        y += 8
    elif layout == 2:  # vendor and its address in the middle, the rest in two columns
        sheet.line(SIZE[0] // 2 - 130, y, value("VENDOR"), size + 5, bold=True)
        sheet.line(SIZE[0] // 2 - 130, y + step + 4, [(address, None)], size - 1)
        y += 2 * step + 18
        sheet.line(left, y, [(f"{customer_label}{colon} ", None), (field["CUSTOMER"], "CUSTOMER")], size)
        y += step
        for label, what in meta:
            sheet.line(left, y, [(f"{label}{colon} ", None), *what], size)
            y += step
        y += 8
    else:  # a letter: customer on top, vendor at the foot
        sheet.line(left, y, [(customer_label + colon, None)], size - 1)
        sheet.line(left, y + step, value("CUSTOMER"), size + 1)
        for i, (label, what) in enumerate(meta):
            sheet.line(right - 290, y + i * step, [(label + colon, None)], size)
            sheet.line(right, y + i * step, what, size, right=True)
        y += max(2, len(meta)) * step + 10
        sheet.line(left, y, [(head, None)], size + 6, bold=True)
        y += step + 14
        foot = SIZE[1] - 34
        sheet.line(left, foot, [*value("VENDOR"), (f" - {address}", None)], size - 2)
    for name, count, cents in goods:
        sheet.line(left, y, [(name, None)], size)
        sheet.line(left + 290, y, [(str(count), None)], size, right=True)
        sheet.line(right, y, [(money(count * cents), None)], size, right=True)
        y += step
    y += 8
    sums = [("Subtotal", net), ("VAT", tax)] if tax else []
    for label, cents in sums:
        sheet.line(right - 170, y, [(label, None)], size, right=True)
        sheet.line(right, y, [(money(cents), None)], size, right=True)
        y += step
    total_label = rng.choice(["Total", "Total due", "Amount due", "TOTAL", "To pay", "Grand total"])
    sheet.line(right - 170, y, [(total_label + colon, None)], size, bold=True, right=True)
    sheet.line(right, y, value("TOTAL"), size, bold=rng.random() < 0.5, right=True)
    sheet.family = rng.choice(FAMILIES)
    return sheet, field


@functools.cache
def font_of(family, bold, size):
    return ImageFont.truetype(f"{FONTS}{family}{'-Bold' if bold else ''}.ttf", size)


def draw(sheet):
    """(image, [(x0, y0, x1, y1, field)]): a box for each part that belongs to a field."""
    image = Image.new("L", SIZE, 255)
    pen, boxes = ImageDraw.Draw(image), []
    for x, y, parts, size, bold, right in sheet.words:
        font = font_of(sheet.family, bold, size)
        if right:
            x -= sum(font.getlength(text) for text, _ in parts)
        for text, field in parts:
            pen.text((x, y), text, font=font, fill=0)
            if field:
                boxes.append((*pen.textbbox((x, y), text, font=font), field))
            x += font.getlength(text)
    return image, boxes


def read(image, boxes):
    """{words, boxes, labels} of Tesseract: a word whose middle is in a field's box belongs to it."""
    import numpy
    from transformers.models.layoutlmv2.image_processing_pil_layoutlmv2 import apply_tesseract

    words, places = apply_tesseract(numpy.array(image.convert("RGB")), None)
    fields = []
    for x0, y0, x1, y1 in places:
        x, y = (x0 + x1) / 2000 * SIZE[0], (y0 + y1) / 2000 * SIZE[1]
        fields.append(next((field for a, b, c, d, field in boxes if a - 2 <= x <= c + 2 and b - 4 <= y <= d + 4), None))
    return dict(words=words, boxes=places, labels=labels_of(fields))


def labels_of(fields):
    """A label for each word's field, or None."""
    before = [None, *fields]
    return [f"{'I' if field == last else 'B'}-{field}" if field else "O" for last, field in zip(before, fields)]


def words_of(sheet):
    """[(word, [x0, y0, x1, y1] in pixels, field or None, where its line begins (x, y))] of all lines."""
    for x, y, parts, size, bold, right in sheet.words:
        font = font_of(sheet.family, bold, size)
        start = x = x - sum(font.getlength(text) for text, _ in parts) * right
        for text, field in parts:
            end = 0
            for word in text.split():
                begin = text.index(word, end)
                end = begin + len(word)
                left, (x0, y0, x1, y1) = x + font.getlength(text[:begin]), font.getbbox(word)
                yield word, [left + x0, y + y0, left + x1, y + y1], field, (start, y)
            x += font.getlength(text)


def misread(word, box, rng):
    """[(word, box)] that a reader makes of a word: now and then a letter is another one, or the word falls apart."""
    if len(word) > 3 and rng.random() < 0.02:
        at = rng.randrange(len(word))
        word = word[:at] + rng.choice(["", *"eiolr1.,|"]) + word[at + 1 :]
    if len(word) <= 5 or rng.random() > 0.02:
        return [(word, box)]
    at = rng.randint(2, len(word) - 2)
    middle = box[0] + (box[2] - box[0]) * at / len(word)
    return [(word[:at], [*box[:2], middle, box[3]]), (word[at:], [middle, *box[1:]])]


def imagine_reading(sheet, rng):
    """What read() would give, without Tesseract, and so for as many forms as one likes: words in lines, or in columns as
    Tesseract sees them, with small faults of letters and places."""
    cuts = rng.sample(range(150, 560), 2) if rng.random() < 0.6 else []
    found = []
    for word, box, field, (x, y) in words_of(sheet):
        place = (sum(x > cut for cut in cuts), y, box[0])
        found += [(place, *piece, field) for piece in misread(word, box, rng)]
    found.sort(key=lambda each: each[0])
    if rng.random() < 0.05:
        found.pop(rng.randrange(len(found)))  # overlooked
    boxes = []
    for _, _, box, _ in found:
        tall = rng.uniform(0, 25) if rng.random() < 0.03 else 0
        moves = [rng.gauss(0, 1.5) + grown for grown in (0, -tall, 0, tall)]
        x0, y0, x1, y1 = (min(1000, max(0, round(1000 * at / side + by))) for at, side, by in zip(box, SIZE * 2, moves))
        boxes.append([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])
    words, fields = [word for _, word, _, _ in found], [field for *_, field in found]
    return dict(words=words, boxes=boxes, labels=labels_of(fields))


def imagined(count):
    """Training forms like those of dataset(), without Tesseract."""
    forms = []
    for i in range(count):
        rng = random.Random(f"imagined {i}")
        sheet, fields = form(rng, held_out=False)
        forms.append(imagine_reading(sheet, rng) | dict(fields=fields, image=draw(sheet)[0]))
    return forms


def dataset(count, held_out, cache):
    """[{words, boxes, labels, fields, image}]; what Tesseract reads is kept in the folder `cache`."""

    def one(i):
        rng = random.Random(f"{held_out} {i}")
        sheet, fields = form(rng, held_out)
        image, boxes = draw(sheet)
        path = Path(cache) / f"{'held-out' if held_out else 'train'}-{i}.json"
        if not path.exists():
            path.write_text(json.dumps(read(image, boxes)))
        return json.loads(path.read_text()) | dict(fields=fields, image=image)

    Path(cache).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(count)))
