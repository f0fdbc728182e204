"""Writes what transformers answers into each folder of tests/data/trained: expected.json and reference.0.safetensors.

    python tools/train/expected.py [NAME...]

expected.json is a list of rows {"task", "inputs", "arguments", "outputs"}: what the pipeline of that task gives with
these arguments, one output for each input. An input is a text, the name of a file in the folder, or for a document
whose words are known {"image", "words", "boxes"}. Images go through transformers' PIL backend. transformers has no
pipeline for the task document-token-classification: its rows are made by `mark_document` below. reference.0.safetensors
is in the format of tests/data/models (tools/goldens), with "texts" in its metadata where the inputs were made of texts.
"""

import json
import sys

import numpy
import soundfile
import torch
from common import CHECK, TRAINED, load, run, save_reference, start, task_of, worst
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForTokenClassification,
    AutoProcessor,
    AutoTokenizer,
    logging,
    pipeline,
)


def plain(value):
    """As JSON: tuples become lists, numbers keep what float32 holds of them."""
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, (float, numpy.floating)):
        return float(f"{value:.9g}")
    return int(value) if isinstance(value, numpy.integer) else value


def rows(task, path, inputs, arguments, read=lambda path, x: x, **parts):
    """A row for each set of arguments; `read` makes what the pipeline takes of an input."""
    pipe = pipeline(task, str(path), **parts)
    return [
        {"task": task, "inputs": inputs, "arguments": each,
         "outputs": [plain(pipe(read(path, x), **each)) for x in inputs]}
        for each in arguments
    ]  # fmt: skip


def samples_of(path, name):
    samples, rate = soundfile.read(path / name, dtype="float32")
    return {"raw": samples, "sampling_rate": rate}


def store_reference(path, inputs, attentions=True, texts=None):
    """One call of the model, checked against float64."""
    task = task_of(AutoConfig.from_pretrained(path).architectures[0])
    model, info = load(path, task, {}, torch.float32)
    exact, _ = load(path, task, {}, torch.float64)
    outputs = run(model, inputs, attentions=attentions)
    double = run(exact, inputs, attentions=attentions)
    error = worst(outputs, {name: double[name] for name in outputs})
    assert error <= CHECK, error
    metadata = {"class": type(model).__name__, "task": task, "set": "real", "arguments": {}, "load": {},
                "loading_info": info} | ({"texts": texts} if texts else {})  # fmt: skip
    save_reference(path / "reference.0.safetensors", dict(inputs), outputs, metadata)


def vit_digits(path):
    files = sorted(file.name for file in path.glob("*.png"))
    pil = AutoImageProcessor.from_pretrained(path, backend="pil")
    store_reference(path, pil([Image.open(path / f).convert("RGB") for f in files[:2]], return_tensors="pt"))
    read = lambda path, name: str(path / name)  # noqa: E731
    arguments = [{}, {"top_k": 1}, {"top_k": 10, "function_to_apply": "sigmoid"}, {"function_to_apply": "none"}]
    return [*rows("image-classification", path, files, arguments, read, image_processor=pil),
            *rows("image-feature-extraction", path, files[:1], [{}], read, image_processor=pil)]  # fmt: skip


def distilbert_intents(path):
    texts = ["Wake me up at 6:20 tomorrow, please.", "do I need an umbrella in Hamburg on Sunday?",
             "Play something by Nina Simone", "tell my boss that the train is delayed!", "WE ARE OUT OF DOG FOOD",
             "How do you say caf\u00e9 in japanese", "it is much too dark in here",
             "asdf \u4e2d\u6587 \U0001f600"]  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(path)
    store_reference(path, tokenizer(texts, padding=True, return_tensors="pt"), texts=texts)
    arguments = [{}, {"top_k": 3}, {"top_k": None}, {"top_k": 2, "function_to_apply": "sigmoid"},
                 {"top_k": 2, "function_to_apply": "none"}]  # fmt: skip
    return [*rows("text-classification", path, texts, arguments), *rows("feature-extraction", path, texts[2:3], [{}])]


def bert_entities(path):
    texts = ["Angela Merkel met Tim Cook at Apple in Berlin.", "J. Lindqvist works for the World Bank in New York.",
             "Zo\u00eb flew from Kyoto to S\u00e3o Paulo; nobody at UNESCO believed it.", "Nothing happened today.",
             "Volvo \U0001f697 sued Northern Steel on Monday \u4e2d\u6587 in Lyon.", "",
             "Dear Xanthippe Kowalczyk, thank you for the letter from Rotterdam Insurance."]  # fmt: skip
    more = ["Oscar Keller lives in Cape Town.", "The train from Seville to Porto arrived late."]
    long = " ".join(texts[:5] + 3 * more)
    tokenizer = AutoTokenizer.from_pretrained(path)
    store_reference(path, tokenizer(texts, padding=True, return_tensors="pt"), texts=texts)
    strategies = ["simple", "first", "average", "max"]
    arguments = [{}, {"ignore_labels": []}, *({"aggregation_strategy": s} for s in strategies)]
    strides = [{"aggregation_strategy": s, "stride": 16} for s in strategies]
    return [*rows("token-classification", path, texts, arguments), *rows("token-classification", path, [long], strides)]


def wav2vec2_spoken_digits(path):
    files = sorted([file.name for kind in ("wav", "flac") for file in path.glob(f"*.{kind}")])
    processor = AutoProcessor.from_pretrained(path)
    sound = samples_of(path, "pi.wav")
    store_reference(path, processor(sound["raw"], sampling_rate=sound["sampling_rate"], return_tensors="pt"), False)
    task, long = "automatic-speech-recognition", ["phone.flac"]
    chunks = [{"chunk_length_s": 3.0}, {"chunk_length_s": 2.5, "stride_length_s": [0.5, 0.75]}]
    stamped = [{"return_timestamps": kind} for kind in ("word", "char")]
    arguments = [*chunks, *(chunks[0] | each for each in stamped), chunks[1] | stamped[0]]
    return [*rows(task, path, files, [{}, *stamped], samples_of), *rows(task, path, long, arguments, samples_of)]


def mark_document(model, processor, page, arguments):
    """A word is what its first piece is. "none": every word that is not O, {"entity", "score", "index", "word", "box"}.
    "simple": neighbours of one kind as the pipeline token-classification joins them, {"entity_group", "score": their
    mean, "word": joined by spaces, "box": the one around them}. Boxes are x0 y0 x1 y1, in thousandths of the page."""
    encoding = processor.tokenizer(page["words"], boxes=page["boxes"], truncation=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**encoding, image=page["pixels"]).logits
    first = {}
    for position, word in enumerate(encoding.word_ids()):
        if word is not None:
            first.setdefault(word, position)
    words = []
    for index, position in first.items():
        scores = logits[0, position].softmax(-1)
        entity = model.config.id2label[int(scores.argmax())]
        words.append({"entity": entity, "score": float(scores.max()), "index": index, "word": page["words"][index],
                      "box": page["boxes"][index]})  # fmt: skip
    marked = [word for word in words if word["entity"] != "O"]
    if arguments.get("aggregation_strategy", "none") == "none":
        return marked
    groups = []
    for word in words:
        kind = word["entity"].removeprefix("B-").removeprefix("I-")
        if groups and groups[-1][0] == kind and not word["entity"].startswith("B-"):
            groups[-1][1].append(word)
        else:
            groups.append((kind, [word]))
    joined = []
    for kind, parts in groups:
        if kind != "O":
            low = [min(p["box"][i] for p in parts) for i in (0, 1)]
            high = [max(p["box"][i] for p in parts) for i in (2, 3)]
            joined.append({"entity_group": kind, "score": sum(p["score"] for p in parts) / len(parts),
                           "word": " ".join(p["word"] for p in parts), "box": low + high})  # fmt: skip
    return joined


def layoutlmv2_forms(path):
    files = sorted(file.name for file in path.glob("*.png"))
    processor = AutoProcessor.from_pretrained(path)
    processor.image_processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    model = AutoModelForTokenClassification.from_pretrained(path).eval()
    pages = []
    for name in files:
        features = processor.image_processor(Image.open(path / name).convert("RGB"), return_tensors="pt")
        pages.append({"image": name, "words": features.words[0], "boxes": features.boxes[0],
                      "pixels": features.pixel_values})  # fmt: skip
    encoding = processor.tokenizer(pages[0]["words"], boxes=pages[0]["boxes"], return_tensors="pt")
    store_reference(path, dict(encoding) | {"image": pages[0]["pixels"]}, attentions=False)
    result = []
    for arguments in ({}, {"aggregation_strategy": "simple"}):
        outputs = [plain(mark_document(model, processor, page, arguments)) for page in pages]
        known = [{key: pages[i][key] for key in ("image", "words", "boxes")} for i in range(2)]
        for inputs in (files, known):
            result.append({"task": "document-token-classification", "inputs": inputs, "arguments": arguments,
                           "outputs": outputs[: len(inputs)]})  # fmt: skip
    return result


def main():
    start()
    logging.set_verbosity_error()
    for make in (vit_digits, distilbert_intents, bert_entities, wav2vec2_spoken_digits, layoutlmv2_forms):
        name = make.__name__.replace("_", "-")
        if name in sys.argv[1:] or (not sys.argv[1:] and (TRAINED / name).exists()):
            result = make(TRAINED / name)
            lines = ",\n".join(f" {json.dumps(row, ensure_ascii=False)}" for row in result)
            (TRAINED / name / "expected.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
            print(f"{name}: {len(result)} rows")


if __name__ == "__main__":
    main()
