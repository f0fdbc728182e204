#!/usr/bin/env python3
"""The Python systems that end_to_end.py times, one process each, from text or file to result.

    python end_to_end_peers.py SYSTEM TASK MODEL THREADS INPUTS.json
    python end_to_end_peers.py export TASK MODEL THREADS -      writes MODEL/model.onnx

SYSTEM is sentence-transformers, transformers or onnxruntime. Answers JSON requests, a line each:
    {"do": "singles", "count": N, "seconds": S}   the first N inputs, each alone, again until S seconds are over -> {"ms": [...]}
    {"do": "all", "batch": N}                     all inputs in one call                   -> {"ms": ...}
    {"do": "results", "batch": N}                 the same, with what came of it           -> {"ms": ..., "results": [...]}
Imports are inside the systems: with `once` in place of INPUTS.json one result is printed, which is how the time from a
process's start to its first result is taken.
"""

import json
import os
import sys
import time


class SentenceTransformers:
    def __init__(self, task, model, threads):
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        self.version = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
        self.model = sentence_transformers.SentenceTransformer(model, device="cpu")

    def __call__(self, inputs, batch):
        return self.model.encode(inputs, batch_size=batch).tolist()


class Transformers:
    """transformers' pipeline; of sound, which it would ask ffmpeg for, soundfile reads the samples."""

    def __init__(self, task, model, threads):
        import torch
        import transformers

        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        self.version = f"transformers {transformers.__version__}, torch {torch.__version__}"
        self.task = "feature-extraction" if task == "embedding" else task
        self.pipe = transformers.pipeline(self.task, model, device="cpu")
        self.embedding, self.sound = task == "embedding", task.startswith("a")

    def __call__(self, inputs, batch):
        if self.sound:
            import soundfile

            read = (soundfile.read(path, dtype="float32") for path in inputs)
            inputs = ({"raw": samples, "sampling_rate": rate} for samples, rate in read)
        if self.embedding:  # the mean of the tokens, of length 1
            features = [x[0] for x in self.pipe(inputs, batch_size=batch, return_tensors=True)]
            return [(x.mean(0) / x.mean(0).norm()).tolist() for x in features]
        results = self.pipe(inputs if self.sound else list(inputs), batch_size=batch)
        return [[x] if isinstance(x, dict) and "label" in x else x for x in results]


class OnnxRuntime:
    """tokenizers, or Pillow, or soundfile; then ONNX Runtime; then numpy."""

    def __init__(self, task, model, threads):
        import numpy
        import onnxruntime

        self.numpy, self.task, self.model = numpy, task, model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(f"{model}/model.onnx", options, providers=["CPUExecutionProvider"])
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.config = json.load(open(f"{model}/config.json"))
        if task in ("embedding", "text-classification"):
            import tokenizers

            self.version += f", tokenizers {tokenizers.__version__}"
            self.tokenizer = tokenizers.Tokenizer.from_file(f"{model}/tokenizer.json")
            self.tokenizer.enable_truncation(256)
            self.tokenizer.enable_padding()
        elif task == "automatic-speech-recognition":
            self.letters = {i: letter for letter, i in json.load(open(f"{model}/vocab.json")).items()}

    def inputs_of(self, batch):
        np = self.numpy
        if hasattr(self, "tokenizer"):
            encodings = self.tokenizer.encode_batch(batch)
            return {"input_ids": np.array([e.ids for e in encodings]),
                    "attention_mask": np.array([e.attention_mask for e in encodings])}  # fmt: skip
        if self.task == "image-classification":
            from PIL import Image

            images = [Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR) for path in batch]
            pixels = np.stack([np.asarray(image, np.float32) for image in images]) / np.float32(127.5) - 1
            return {"pixel_values": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
        import soundfile

        samples = soundfile.read(batch[0], dtype="float32")[0]  # one at a time: this model takes no mask
        return {"input_values": ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))[None]}

    def results_of(self, output, mask):
        np = self.numpy
        if self.task == "embedding":
            mean = (output * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
            return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).tolist()
        if self.task == "automatic-speech-recognition":
            ids = output[0].argmax(-1)
            kept = ids[np.insert(ids[1:] != ids[:-1], 0, True)]
            return [{"text": "".join(self.letters[i] for i in kept.tolist() if i).replace("|", " ").strip()}]
        scores = np.exp(output - output.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        best = np.argsort(-scores, 1)[:, : 5 if self.task.startswith("image") else 1].tolist()
        labels = self.config["id2label"]
        return [[{"label": labels[str(i)], "score": float(row[i])} for i in top] for row, top in zip(scores, best)]

    def __call__(self, inputs, batch):
        order = range(len(inputs))
        if hasattr(self, "tokenizer"):
            order = sorted(order, key=lambda i: len(inputs[i]))  # little padding
        elif self.task.startswith("auto"):
            batch = 1
        results = [None] * len(inputs)
        for begin in range(0, len(inputs), batch):
            part = order[begin : begin + batch]
            given = self.inputs_of([inputs[i] for i in part])
            output = self.session.run(None, given)[0]
            for i, result in zip(part, self.results_of(output, given.get("attention_mask"))):
                results[i] = result
        return results


SYSTEMS = {"sentence-transformers": SentenceTransformers, "transformers": Transformers, "onnxruntime": OnnxRuntime}


def export(task, path):
    """model.onnx, with the axes of batch and length free."""
    import torch
    import transformers

    auto = {"embedding": "AutoModel", "text-classification": "AutoModelForSequenceClassification",
            "image-classification": "AutoModelForImageClassification", "automatic-speech-recognition": "AutoModelForCTC"}  # fmt: skip
    model = getattr(transformers, auto[task]).from_pretrained(path, attn_implementation="eager").eval()
    if task == "image-classification":
        inputs, axes = {"pixel_values": torch.randn(2, 3, 224, 224)}, {0: "batch"}
    elif task == "automatic-speech-recognition":
        inputs, axes = {"input_values": torch.randn(2, 16000)}, {0: "batch", 1: "samples"}
    else:
        inputs = {"input_ids": torch.randint(0, 1000, (2, 16)), "attention_mask": torch.ones(2, 16).long()}
        axes = {0: "batch", 1: "length"}

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, first, second=None):
            given = (first,) if second is None else (first, second)
            return self.model(**dict(zip(inputs, given)))[0]

    file = f"{path}/model.onnx"
    torch.onnx.export(First().eval(), tuple(inputs.values()), file + ".part", input_names=list(inputs), opset_version=17,
                      output_names=["output"], dynamic_axes={name: axes for name in inputs} | {"output": {0: "batch"}},
                      dynamo=False)  # fmt: skip
    os.replace(file + ".part", file)


def serve(make, file, answer):
    begin = time.perf_counter()
    inputs = json.load(open(file))
    run = make()
    answer({"version": run.version, "load_s": time.perf_counter() - begin})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "singles":
            times, begin = [], time.perf_counter()
            while not times or time.perf_counter() - begin < request["seconds"]:
                for x in inputs[: request["count"]]:
                    before = time.perf_counter()
                    run([x], 1)
                    times.append(1e3 * (time.perf_counter() - before))
            answer({"ms": times})
        else:
            before = time.perf_counter()
            results = run(inputs, request["batch"])
            taken = {"ms": 1e3 * (time.perf_counter() - before)}
            answer(taken | ({"results": results} if request["do"] == "results" else {}))


def main():
    system, task, model, threads, file = sys.argv[1:6]
    if system == "export":
        return export(task, model)

    def make():
        return SYSTEMS[system](task, model, int(threads))

    if file == "once":
        return print(str(make()([sys.argv[6]], 1))[:200])
    answers = os.fdopen(os.dup(1), "w")  # whatever a library prints goes to stderr
    os.dup2(2, 1)

    def answer(message):
        print(json.dumps(message), file=answers, flush=True)

    try:
        serve(make, file, answer)
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        raise


if __name__ == "__main__":
    main()
