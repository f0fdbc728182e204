"""Writes tests/data/pipelines/goldens.json: what transformers' pipelines answer with the small models of tests/data/models.

    python tools/make_task_goldens.py [--legacy DIR]

{"files": {name: {file name: content}}, "cases": [{"model", "files", "config", "rows": [{"task", "inputs", "arguments", "outputs"}]}]}.
A case's checkpoint is the config.json of "model" with "config" laid over it, its model.safetensors, and the processor files of that name.
Rows are those of tests/data/trained/*/expected.json, but that an input may also be {"noise": samples, "sampling_rate", "stride"} or have
"pixels": [height, width]: sound and images that `noise` and `pixels` below make, here and in tests/models/pipelines_test.cpp.

transformers 5 has no question-answering pipeline: its rows come from 4.57.3, the last release that has one, in DIR:
    pip install --target DIR --no-deps transformers==4.57.3 huggingface_hub==0.36.0 tokenizers==0.22.1 && pip install --target DIR requests
Without --legacy the stored rows are kept.
"""

import argparse
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile

if "--questions" not in sys.argv:
    import goldens.common  # noqa: F401  a detectron2, before transformers looks for one

import numpy
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, logging, pipeline

ROOT = pathlib.Path(__file__).parent.parent
DATA = ROOT / "tests/data"
OUTPUT = DATA / "pipelines/goldens.json"

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the cat dog sits on mat who where is it in paris anna bob new york red big house . , ? ' "
    "##s ##ing ##er ##t ##a ##b ##cat a b c s t e i n o r caf ##e un ##aff ##able - total 12 ##3 invoice date"
).split()
PIECES += [f"[unused{i}]" for i in range(61 - len(PIECES))]
TEXT = {
    "vocab.txt": "".join(piece + "\n" for piece in PIECES),
    "tokenizer_config.json": json.dumps({"do_lower_case": True, "model_max_length": 20, "tokenizer_class": "BertTokenizer"}),
}
DISTIL = TEXT | {"tokenizer_config.json": TEXT["tokenizer_config.json"].replace("Bert", "DistilBert")}
LAYOUT = TEXT | {
    "tokenizer_config.json": json.dumps({"do_lower_case": True, "model_max_length": 20, "tokenizer_class": "LayoutLMv2Tokenizer"}),
    "preprocessor_config.json": json.dumps({"image_processor_type": "LayoutLMv2ImageProcessor", "apply_ocr": False, "do_resize": True, "size": {"height": 32, "width": 32}}),
}
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGH"]
SOUND = {
    "vocab.json": json.dumps({letter: i for i, letter in enumerate(LETTERS)}),
    "tokenizer_config.json": json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", "do_lower_case": True, "pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "word_delimiter_token": "|"}),
    "preprocessor_config.json": json.dumps({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": 16000, "return_attention_mask": False}),
}
IMAGES = {"preprocessor_config.json": json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]})}


def sentences(pooling, **settings):
    """A sentence-transformers directory."""
    types = ["Transformer", "Pooling", "Normalize"][: 2 if settings.get("similarity_fn_name") in ("euclidean", "manhattan") else 3]
    modules = [{"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(types)]
    return TEXT | {
        "modules.json": json.dumps(modules),
        "1_Pooling/config.json": json.dumps({"word_embedding_dimension": 32} | pooling),
        "config_sentence_transformers.json": json.dumps(settings),
    }


PROMPTS = {"prompts": {"query": "where is ", "passage": "the house: "}}
FILES = {"text": TEXT, "distil": DISTIL, "layout": LAYOUT, "sound": SOUND, "images": IMAGES}
FILES |= {
    "cosine": sentences({"pooling_mode_mean_tokens": True}, **PROMPTS),
    "dot": sentences({"pooling_mode_cls_token": True}, similarity_fn_name="dot", default_prompt_name="passage", **PROMPTS),
    "euclidean": sentences({"pooling_mode_mean_tokens": True, "include_prompt": False}, similarity_fn_name="euclidean", default_prompt_name="query", **PROMPTS),
    "manhattan": sentences({"pooling_mode_cls_token": True, "include_prompt": False}, similarity_fn_name="manhattan", **PROMPTS),
    "maximum": sentences({"pooling_mode_max_tokens": True, "include_prompt": False}, similarity_fn_name=None, **PROMPTS),
}

TEXTS = ["the cat sits on the mat.", "Anna is in New York, Bob is in Paris", "cats unaffable caf\u00e9", "x \u4e2d\u6587 \U0001f600 dog?"]
LONG = "anna sits on the red cats in paris. bob is in new york, the big dog sits on the mat in the house. where is it?"


def noise(count):
    i = numpy.arange(count, dtype=numpy.int64)
    return ((i * i * 31 + i * 7919 + (i // 97) * 1013) % 2001 - 1000).astype(numpy.float32) / numpy.float32(1000)


def pixels(height, width):
    y, x, c = numpy.meshgrid(range(height), range(width), range(3), indexing="ij")
    return ((y * 31 + x * 17 + c * 101 + x * y * 3) % 256).astype(numpy.uint8)


def taken(task, x):
    """What the pipeline takes of an input in the file."""
    x = copy.deepcopy(x)
    if not isinstance(x, dict):
        return x
    if task == "token-classification":
        return x["words"]
    if "noise" in x:
        return {"raw": noise(x.pop("noise"))} | x
    if "pixels" in x:
        image = Image.fromarray(pixels(*x.pop("pixels")))
        if task.startswith("image"):
            return image
        x["image"] = image
        if "words" in x and task == "document-question-answering":
            x["word_boxes"] = list(zip(x.pop("words"), x.pop("boxes")))
    return x


def plain(value):
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, (float, numpy.floating)):
        return float(f"{value:.8g}")
    return int(value) if isinstance(value, numpy.integer) else value


def choose(path):
    """The documentation's use of AutoModelForMultipleChoice."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), transformers.AutoModelForMultipleChoice.from_pretrained(path).eval()

    def pipe(x):
        inputs = tokenizer([x["prompt"]] * len(x["choices"]), x["choices"], padding=True, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**{key: value.unsqueeze(0) for key, value in inputs.items()}).logits[0].softmax(-1)
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        return [{"score": float(scores[i]), "choice": i, "text": x["choices"][i]} for i in order]

    return pipe


def mark(path):
    """A page's words, each labelled as its first piece is; "simple" joins neighbours of one kind."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), transformers.AutoModelForTokenClassification.from_pretrained(path).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(path, backend="pil")

    def pipe(x, aggregation_strategy="none"):
        encoding = tokenizer(x["words"], boxes=x["boxes"], truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**encoding, image=processor(x["image"], return_tensors="pt").pixel_values).logits[0].softmax(-1)
        ids, words = encoding.word_ids(), []
        for at, word in enumerate(ids):
            if word is not None and word not in ids[:at]:
                entity = model.config.id2label[int(scores[at].argmax())]
                words.append({"entity": entity, "score": float(scores[at].max()), "index": word, "word": x["words"][word], "box": x["boxes"][word]})
        if aggregation_strategy == "none":
            return [word for word in words if word["entity"] != "O"]
        groups = []
        for word in words:
            kind = word["entity"].split("-")[-1]
            if not groups or groups[-1][0] != kind or word["entity"].startswith("B-"):
                groups.append((kind, []))
            groups[-1][1].append(word)
        return [
            {"entity_group": kind, "score": float(numpy.mean([p["score"] for p in parts])), "word": " ".join(p["word"] for p in parts),
             "box": [*numpy.min([p["box"] for p in parts], 0)[:2], *numpy.max([p["box"] for p in parts], 0)[2:]]}
            for kind, parts in groups if kind != "O"
        ]  # fmt: skip

    return pipe


def compare(path):
    """sentence_transformers' similarity of what encode makes of the texts."""
    from sentence_transformers import SentenceTransformer  # not with transformers 4

    model = SentenceTransformer(str(path), device="cpu")

    def pipe(x, **arguments):
        embeddings = model.encode([x["source_sentence"], *x["sentences"]], **arguments)
        return model.similarity(embeddings[:1], embeddings[1:])[0].tolist()

    return pipe


def make(task, path):
    if task == "sentence-similarity":
        return compare(path)
    if task == "multiple-choice":
        return choose(path)
    if task == "document-token-classification":
        return mark(path)
    parts = {}
    if task.startswith("image") or task.startswith("document"):
        parts["image_processor"] = transformers.AutoImageProcessor.from_pretrained(path, backend="pil")
    return pipeline(task, str(path), device="cpu", **parts)


def checkpoint(folder, case):
    source = DATA / "models" / case["model"]
    config = json.loads((source / "config.json").read_text()) | case["config"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    for name, content in FILES[case["files"]].items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


def cases():
    def case(model, files, task, inputs, arguments, config=None):
        rows = [{"task": task, "inputs": inputs, "arguments": each} for each in arguments]
        return {"model": model, "files": files, "config": config or {}, "rows": rows}

    def labels(*names):
        return {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {name: i for i, name in enumerate(names)}}

    entities = labels("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "MISC", "I-MISC")
    masked = ["the [MASK] sits on the mat.", "[MASK] is in paris", "the [MASK] is in the [MASK]"]
    fill = [{}, {"top_k": 2}, {"targets": ["cat", "dog", "house"]}, {"targets": "dogs", "top_k": 3}]
    classify = [{}, {"top_k": 3}, {"top_k": None}, {"top_k": 2, "function_to_apply": "sigmoid"}, {"top_k": 2, "function_to_apply": "none"}, {"function_to_apply": "softmax"}]
    pair = {"text": "where is the cat?", "text_pair": "the cat is on the mat"}
    strategies = [{"aggregation_strategy": s} for s in ("simple", "first", "average", "max")]
    tokens = [{}, {"ignore_labels": []}, *strategies, {"aggregation_strategy": "simple", "ignore_labels": ["PER", "MISC"]}]
    strides = [s | {"stride": n} for s in strategies for n in (0, 4)]
    sounds = [{"noise": 700, "sampling_rate": 16000}, {"noise": 1501, "sampling_rate": 16000}, {"noise": 400, "sampling_rate": 16000}]
    long_sound = [{"noise": 4321, "sampling_rate": 16000}, {"noise": 2000, "sampling_rate": 16000}]
    strided = [long_sound[0] | {"stride": sides} for sides in ([500, 701], [0, 1000], [1234, 0], [2000, 2321], [0, 0])]
    second = 1 / 16000
    chunks = [{"chunk_length_s": 1000 * second}, {"chunk_length_s": 800 * second, "stride_length_s": [100 * second, 201 * second]}, {"chunk_length_s": 640 * second, "stride_length_s": 0}]
    stamps = [{"return_timestamps": "char"}, {"return_timestamps": "word"}]
    images = [{"pixels": [20, 31]}, {"pixels": [12, 12]}, {"pixels": [3, 40]}]
    words = "invoice date 12 total 123 anna unaffable cats new york paris , red house".split()
    boxes = [[30 * i, 10 * i, 30 * i + 25, 10 * i + 40] for i in range(len(words))]
    page = {"pixels": [50, 40], "words": words[:9], "boxes": boxes[:9]}
    long_page = {"pixels": [33, 64], "words": words, "boxes": boxes}
    asked = [x | {"question": q} for x, q in ((page, "where is anna?"), (long_page, "total"), (page, "who is bob"))]
    cut = [{"truncation": True}, {"truncation": "only_first", "max_length": 9, "top_k": 2}, {"max_length": 8}, {"add_special_tokens": False, "truncation": True, "padding": True}]
    alike = [{"source_sentence": "the cat sits on the mat.", "sentences": ["cats sit on a mat", "anna is in paris", "", LONG]}]
    prompted = [{}, {"prompt_name": "query"}, {"prompt": "in new york, "}]
    return [
        *(case("bert/base", files, "sentence-similarity", alike, prompted) for files in ("cosine", "dot", "euclidean", "manhattan", "maximum")),
        case("bert/sequence_5", "text", "text-classification", [LONG, TEXTS[0]], cut),
        case("bert/sequence_5", "text", "text-classification", [{"text": TEXTS[0], "text_pair": LONG}, pair], [{"truncation": True}, {"truncation": "only_second", "max_length": 14}]),
        case("bert/mlm_relu", "text", "fill-mask", [f"the [MASK] {LONG}", masked[0]], [{"tokenizer_kwargs": {"truncation": True}, "top_k": 3}, {"tokenizer_kwargs": {"truncation": True, "max_length": 7, "add_special_tokens": False}, "targets": ["cat", "unaffable"]}]),
        case("bert/base", "text", "feature-extraction", [LONG], [{"truncation": True}, {"tokenize_kwargs": {"truncation": True, "max_length": 6}}]),
        case("vit/pooler_relu", "images", "image-feature-extraction", images[1:2], [{"image_processor_kwargs": {"do_normalize": False}}]),
        case("bert/mlm_relu", "text", "fill-mask", masked, fill),
        case("distilbert/mlm_relu", "distil", "fill-mask", masked[:2], fill[:2]),
        case("bert/sequence_5", "text", "text-classification", [*TEXTS, pair, ""], classify),
        case("bert/sequence_5", "text", "text-classification", TEXTS[:2], [{}, {"top_k": None}], {"problem_type": "multi_label_classification"}),
        case("bert/sequence_regression", "text", "text-classification", TEXTS, [{}, {"top_k": None}, {"function_to_apply": "sigmoid"}], {"problem_type": "regression"}),
        case("distilbert/sequence_3", "distil", "text-classification", TEXTS, [{}, {"top_k": 5}]),
        case("bert/token", "text", "token-classification", [*TEXTS, ""], tokens, entities),
        case("bert/token", "text", "token-classification", [LONG], [*strides, {}, {"aggregation_strategy": "first"}], entities),
        case("bert/token", "text", "token-classification", [{"words": text.split()} for text in (*TEXTS[:3], LONG)], [*strategies, {}, strides[3], {"aggregation_strategy": "first", "delimiter": " - "}], entities),
        case("bert/token", "text", "token-classification", [f"{LONG} {TEXTS[1]}", f"{TEXTS[1]} . {LONG}"], [s | {"stride": n} for s in strategies for n in (7, 10)], entities),
        case("distilbert/token", "distil", "token-classification", TEXTS[:2], [{}, strategies[0]]),
        case("bert/multiple_choice", "text", "multiple-choice", [{"prompt": "where is the cat?", "choices": ["on the mat", "in paris", "who is it in the big red house?"]}, {"prompt": "who", "choices": ["anna", "bob"]}], [{}]),
        case("distilbert/multiple_choice", "distil", "multiple-choice", [{"prompt": "who", "choices": ["anna", "the dogs", "it"]}], [{}]),
        case("bert/base", "text", "feature-extraction", TEXTS[:2], [{}]),
        case("vit/image_classification_names", "images", "image-classification", images, [{}, {"top_k": None}, {"top_k": 1}, {"top_k": 9, "function_to_apply": "sigmoid"}, {"function_to_apply": "none"}]),
        case("vit/image_classification_names", "images", "image-classification", images[:1], [{}], {"problem_type": "multi_label_classification"}),
        case("vit/pooler_relu", "images", "image-feature-extraction", images[:1], [{}, {"pool": True}], {}),
        case("wav2vec2/sequence", "sound", "audio-classification", sounds, [{}, {"top_k": 2}, {"top_k": None, "function_to_apply": "sigmoid"}, {"function_to_apply": "none"}]),
        case("wav2vec2/ctc", "sound", "automatic-speech-recognition", sounds, [{}, *stamps]),
        case("wav2vec2/ctc", "sound", "automatic-speech-recognition", long_sound, [*chunks, chunks[0] | stamps[0], chunks[1] | stamps[1]]),
        case("wav2vec2/ctc", "sound", "automatic-speech-recognition", strided, [{}, stamps[0], stamps[1], chunks[1] | stamps[0]]),
        case("wav2vec2/ctc_stable", "sound", "automatic-speech-recognition", long_sound, [{}, chunks[1] | stamps[0]]),
        case("layoutlmv2/document_question", "layout", "document-question-answering", asked, [{}, {"top_k": 3}, {"handle_impossible_answer": True, "top_k": 2}, {"max_answer_len": 2}, {"padding": "max_length"}, {"doc_stride": 2, "max_seq_len": 18}, {"doc_stride": 2, "max_seq_len": 18, "top_k": 76, "handle_impossible_answer": True}]),
        case("layoutlmv2/token", "layout", "document-token-classification", [page, long_page, page | {"boxes": boxes[8::-1]}], [{}, {"aggregation_strategy": "simple"}], labels("O", "B-TOTAL", "I-TOTAL", "B-DATE", "I-DATE", "B-NAME", "I-NAME")),
    ]  # fmt: skip


def questions():
    qa = [{"question": "where is the cat?", "context": "the cats sits on the mat."}, {"question": "who?", "context": LONG}, {"question": "who is in paris", "context": "Anna is in Paris, anna \u4e2d\u6587 caf\u00e9 unaffable"}]
    arguments = [{}, {"top_k": 3}, {"top_k": 2, "handle_impossible_answer": True}, {"max_answer_len": 2}, {"align_to_words": False, "top_k": 2}, {"max_seq_len": 18, "doc_stride": 5}, {"padding": "max_length", "max_question_len": 2, "top_k": 2}, {"padding": False}]
    rows = [{"task": "question-answering", "inputs": qa, "arguments": each} for each in arguments]
    return [{"model": f"{model}/question_answering", "files": files, "config": {}, "rows": copy.deepcopy(rows)} for model, files in (("bert", "text"), ("distilbert", "distil"))]


def answer(case):
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(pathlib.Path(folder), case)
        for task in dict.fromkeys(row["task"] for row in case["rows"]):
            pipe = make(task, path)
            for row in case["rows"]:
                if row["task"] == task:
                    words = {"is_split_into_words": True} if task == "token-classification" else {}
                    row["outputs"] = [plain(pipe(taken(task, x), **row["arguments"], **(words if isinstance(x, dict) else {}))) for x in row["inputs"]]
                    if task == "token-classification":  # which gives a list of one for a list of words
                        row["outputs"] = [y[0] if isinstance(x, dict) else y for x, y in zip(row["inputs"], row["outputs"])]
                    if task == "text-classification":  # which gives a lone label in a list for a text, without one for a pair
                        row["outputs"] = [x if isinstance(x, list) else [x] for x in row["outputs"]]
    return case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legacy", type=pathlib.Path, help="a folder with transformers 4.57.3")
    parser.add_argument("--questions", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    if arguments.questions:
        assert transformers.__version__ == "4.57.3"
        return print(json.dumps([answer(case) for case in questions()]))
    assert transformers.__version__ == "5.23.0", "see tools/requirements.txt"
    if arguments.legacy:
        command = [sys.executable, __file__, "--questions"]
        asked = json.loads(subprocess.run(command, env=os.environ | {"PYTHONPATH": str(arguments.legacy)}, stdout=subprocess.PIPE, check=True).stdout)
    else:
        asked = [case for case in json.loads(OUTPUT.read_text())["cases"] if case["rows"][0]["task"] == "question-answering"]
    made = [answer(case) for case in cases()]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in made + asked)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(f'{{"files": {json.dumps(FILES, ensure_ascii=False)},\n"cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(len(made + asked), "cases,", sum(len(case["rows"]) for case in made + asked), "rows,", OUTPUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
