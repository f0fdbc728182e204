"""Compares `caracal preprocess` with the Python libraries on every image, page and sound file of a folder.

usage: TORCHAUDIO_DIR=DIR python tools/check_media.py CARACAL DATA [decode] [damage] [resize] [pixel_values] [audio] [ocr]
CARACAL is the command; DATA holds images/, docs/ and audio/. TORCHAUDIO_DIR: see media_reference.py. Exit status 1 when
anything differs.
"""

import json
import logging
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image
from safetensors import safe_open
from transformers import LayoutLMv2ImageProcessorPil, ViTImageProcessor, ViTImageProcessorPil, Wav2Vec2FeatureExtractor
from transformers.image_utils import load_image

import media_reference

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
AS_IT_IS = {"do_resize": False, "do_rescale": False, "do_normalize": False}
FILTERS = ["NEAREST", "LANCZOS", "BILINEAR", "BICUBIC", "BOX", "HAMMING"]
SIZES = [(1, 1), (1, 224), (224, 1), (7, 5), (32, 32), (64, 48), (100, 100), (127, 301), (160, 120), (192, 192),
         (224, 224), (224, 225), (240, 320), (256, 256), (299, 299), (333, 77), (384, 384), (448, 448), (512, 640), (700, 900)]


class Checker:
    def __init__(self, command, folder):
        self.command, self.folder = command, pathlib.Path(folder)
        self.differences = self.compared = 0
        self.scratch = pathlib.Path(tempfile.mkdtemp())
        for name, processor in [("vit", ViTImageProcessorPil()), ("layoutlmv2", LayoutLMv2ImageProcessorPil()),
                                ("wav2vec2", Wav2Vec2FeatureExtractor())]:
            processor.save_pretrained(self.scratch / name)
        self.images = sorted((self.folder / "images").iterdir()) + sorted((self.folder / "docs").iterdir())

    def caracal(self, model, kind, files, settings={}):
        """Tensors and metadata, or the error as a string."""
        out = self.scratch / "out.safetensors"
        arguments = [self.command, "preprocess", "--model", self.scratch / model, "--outputs", out, f"--{kind}", *files]
        for key, value in settings.items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        run = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
        if run.returncode != 0:
            assert run.returncode == 1 and run.stderr.startswith("caracal: error: "), run
            return run.stderr.strip()
        with safe_open(out, "np") as f:
            return {name: f.get_tensor(name) for name in f.keys()}, f.metadata()

    def report(self, what, same, detail=""):
        self.compared += 1
        if not same:
            self.differences += 1
            print(f"DIFFERS {what}: {detail}")

    def reference(self, path):
        try:
            return load_image(str(path))
        except Exception as error:  # noqa: BLE001
            return error

    def decode(self):
        """Pixels; also sorts out the files that both refuse."""
        self.readable = []
        for path in self.images:
            want, got = self.reference(path), self.caracal("vit", "image", [path], AS_IT_IS)
            if isinstance(got, str) or isinstance(want, Exception):
                both = isinstance(got, str) and isinstance(want, Exception)
                refused = isinstance(got, str) and "convert it" in got
                print(f"{'both refuse' if both else 'not supported' if refused else 'DIFFERS'} {path.name}: {want} / {got}")
                self.differences += not both and not refused
                continue
            self.readable.append(path)
            want, got = np.asarray(want), got[0]["pixel_values"][0].transpose(1, 2, 0)
            same = want.shape == got.shape and (want == got).all()
            worst = "" if want.shape != got.shape else np.abs(want.astype(int) - got).max()
            self.report(f"decode {path.name}", same, f"{want.shape} {got.shape} {worst}")

    def damage(self):
        """Truncated and corrupted copies: an error, or what Pillow makes of them."""
        rng, refused, accepted = np.random.default_rng(0), 0, 0
        for path in self.readable:
            data = path.read_bytes()
            for round in range(30 if len(data) < 50_000 else 6):
                broken = bytearray(data)
                if round % 3 == 0:
                    del broken[int(rng.integers(len(broken))):]
                else:
                    for at in rng.integers(0, len(broken), 1 + round % 5):
                        broken[at] = rng.integers(256)
                copy = self.scratch / ("damaged" + path.suffix)
                copy.write_bytes(broken)
                got = self.caracal("vit", "image", [copy], AS_IT_IS)
                if isinstance(got, str):
                    refused += 1
                    continue
                accepted += 1
                want = self.reference(copy)
                same = not isinstance(want, Exception) and np.array_equal(
                    np.asarray(want), got[0]["pixel_values"][0].transpose(1, 2, 0))
                self.report(f"damaged {path.name} {round}", same, want)
        print(f"damaged files: {refused} refused, {accepted} read")

    def resize(self):
        images = [self.reference(path) for path in self.readable]
        for height, width in SIZES:
            for number, name in enumerate(FILTERS):
                settings = {**AS_IT_IS, "do_resize": True, "size": {"height": height, "width": width}, "resample": number}
                got = self.caracal("vit", "image", self.readable, settings)[0]["pixel_values"].transpose(0, 2, 3, 1)
                for path, image, pixels in zip(self.readable, images, got):
                    want = np.asarray(image.resize((width, height), number))
                    self.report(f"resize {path.name} {height} x {width} {name}", (want == pixels).all())

    def pixel_values(self):
        tv, levels, worst, off = ViTImageProcessor(), 2 / 255, 0.0, 0
        for path in self.readable:
            image = self.reference(path)
            got = self.caracal("vit", "image", [path])[0]["pixel_values"]
            pil = ViTImageProcessorPil()(image, return_tensors="np")["pixel_values"]
            self.report(f"pixel_values {path.name}", np.abs(got - pil).max() <= 1e-6, np.abs(got - pil).max())
            steps = np.abs(got - tv(image, return_tensors="pt")["pixel_values"].numpy()) / levels
            worst, off = max(worst, steps.max()), off + (steps > 0.5).mean() / len(self.readable)
            self.report(f"torchvision {path.name}", steps.max() <= 1.001, steps.max())
        print(f"from the torchvision backend: at most {worst:.3f} grey levels, {100 * off:.3f} % of values")

    def audio(self):
        resample, extractor, worst = media_reference.torchaudio_resample(), Wav2Vec2FeatureExtractor(), [0.0, 0.0]
        for path in sorted((self.folder / "audio").iterdir()):
            try:
                want = media_reference.load_audio(path, resample)
            except Exception as error:  # noqa: BLE001
                want = error
            for normalize in [False, True]:
                got = self.caracal("wav2vec2", "audio", [path], {"do_normalize": normalize})
                if isinstance(got, str) or isinstance(want, Exception):
                    both = isinstance(got, str) and isinstance(want, Exception)
                    print(f"{'both refuse' if both else 'DIFFERS'} {path.name}: {want} / {got}")
                    self.differences += not both
                    break
                got = got[0]["input_values"][0]
                extractor.do_normalize = normalize
                values = extractor(want, sampling_rate=16000, return_tensors="np")["input_values"][0]
                error = np.abs(got - values).max() / max(1.0, np.abs(values).max()) if got.shape == values.shape else np.inf
                worst[normalize] = max(worst[normalize], error)
                self.report(f"audio {path.name} normalize={normalize}", error <= 1e-5, f"{values.shape} {got.shape} {error}")
        print(f"sound: samples within {worst[0]:.2e}, input_values within {worst[1]:.2e} (relative to the largest)")

    def ocr(self):
        processor = LayoutLMv2ImageProcessorPil()
        for path in self.readable:
            image = self.reference(path)
            if image.width < 3 or image.height < 3:
                continue
            want = processor(image, return_tensors="np")
            got = self.caracal("layoutlmv2", "image", [path])
            if isinstance(got, str):
                self.report(f"ocr {path.name}", False, got)
                continue
            words, boxes = json.loads(got[1]["words"]), json.loads(got[1]["boxes"])
            self.report(f"words {path.name}", words == want["words"], f"{len(words[0])} {len(want['words'][0])}")
            self.report(f"boxes {path.name}", boxes == [[list(b) for b in page] for page in want["boxes"]])
            self.report(f"page {path.name}", (got[0]["pixel_values"] == want["pixel_values"]).all())
            print(f"{path.name}: {len(words[0])} words", flush=True)


def main():
    checker = Checker(sys.argv[1], sys.argv[2])
    checks = sys.argv[3:] or ["decode", "damage", "resize", "pixel_values", "audio", "ocr"]
    if checks != ["audio"]:
        checker.decode()
    for check in checks:
        if check != "decode":
            getattr(checker, check)()
    print(f"{checker.compared} compared, {checker.differences} differ")
    sys.exit(checker.differences > 0)


if __name__ == "__main__":
    main()
