"""Image and sound files to model inputs: caracal beside transformers, torchvision and Pillow, one thread each, in turns.

usage: TORCHAUDIO_DIR=DIR python bench/media.py build/release/bench/media_bench DATA
DATA holds images/ and audio/; TORCHAUDIO_DIR: see tools/media_reference.py. Writes bench/results/DATE-CPU-media.md.
"""

import datetime
import logging
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import soundfile
import torch
from PIL import Image
from transformers import ViTImageProcessor, ViTImageProcessorPil, Wav2Vec2FeatureExtractor
from transformers.image_utils import load_image

sys.path.append(str(pathlib.Path(__file__).parent.parent / "tools"))
import media_reference  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
ROUNDS = 9
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


class Caracal:
    def __init__(self, command):
        self.process = subprocess.Popen([command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *request):
        print(*request, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline().split()[1])


def median_ms(call, calls):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def row(name, ours, peers, calls):
    """One line of the table: the median over rounds of each one's median call, and the ratio inside a round."""
    ours(1)
    for call in peers.values():
        call()
    times, ratios = {"caracal": []}, {}
    for _ in range(ROUNDS):
        mine = ours(calls)
        times["caracal"].append(mine)
        for peer, call in peers.items():
            took = median_ms(call, calls)
            times.setdefault(peer, []).append(took)
            ratios.setdefault(peer, []).append(took / mine)
    cells = [f"{statistics.median(times['caracal']):.3f}"]
    cells += [f"{peer} {statistics.median(times[peer]):.3f} ({statistics.median(ratios[peer]):.2f}, "
              f"{min(ratios[peer]):.2f} to {max(ratios[peer]):.2f})" for peer in peers]
    line = f"| {name} | {cells[0]} | {'; '.join(cells[1:])} |"
    print(line, flush=True)
    return line


def main():
    caracal, data = Caracal(sys.argv[1]), pathlib.Path(sys.argv[2])
    torchvision, pil, wav2vec2 = ViTImageProcessor(), ViTImageProcessorPil(), Wav2Vec2FeatureExtractor()
    resample, lines = media_reference.torchaudio_resample(), []
    for file, calls in [("coco_cats_39769.jpg", 20), ("rocket.jpg", 20), ("photo_4032x3024.jpg", 3)]:
        path = str(data / "images" / file)
        peers = {"torchvision": lambda: torchvision(path, return_tensors="pt"),
                 "Pillow, then torchvision": lambda: torchvision(load_image(path), return_tensors="pt"),
                 "Pillow": lambda: pil(load_image(path), return_tensors="np")}
        lines.append(row(f"JPEG to pixel_values, {file}", lambda n: caracal("jpeg", path, n), peers, calls))
        lines.append(row(f"of that decoding, {file}", lambda n: caracal("decode", path, n),
                         {"Pillow": lambda: load_image(path)}, calls))
    for file, calls in [("coco_cats_39769.jpg", 20), ("photo_4032x3024.jpg", 3)]:
        path = str(data / "images" / file)
        image = load_image(path)
        for height, width in [(224, 224), (384, 384)]:
            for number, name in enumerate(FILTERS):
                lines.append(row(f"resize {image.height} x {image.width} to {height} x {width}, {name}",
                                 lambda n: caracal("resize", path, height, width, number, n),
                                 {"Pillow": lambda: image.resize((width, height), number)},
                                 100 if name == "nearest" else calls))
    for file, seconds, rate in [("jfk_16k_mono_16bit.wav", 10, 16000), ("vctk_p286_011_48k.wav", 10, 48000)]:
        samples, original = soundfile.read(data / "audio" / file, dtype="int16")
        with tempfile.NamedTemporaryFile(suffix=".wav") as clip:
            soundfile.write(clip.name, np.resize(samples, seconds * original), original, subtype="PCM_16")
            peers = {"transformers": lambda: wav2vec2(media_reference.load_audio(clip.name, resample), sampling_rate=16000,
                                                      return_tensors="pt")}
            lines.append(row(f"{seconds} s of 16-bit WAV at {rate} Hz to input_values",
                             lambda n: caracal("wav", clip.name, n), peers, 10))
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in open("/proc/cpuinfo"))}
    cpu = f"{about['model name']}, family {about['cpu family']} model {about['model']}"
    day = datetime.date.today().isoformat()
    slug = f"{about['model name'].lower().replace(' ', '-')}-f{about['cpu family']}m{about['model']}"
    target = pathlib.Path(__file__).parent / "results" / f"{day}-{slug}-media.md"
    target.write_text(f"""# Image and sound files to model inputs, {day}

CPU: {cpu}, one thread each. Python {platform.python_version()}, torch {torch.__version__}, Pillow {Image.__version__}.
Milliseconds a call: the median over {ROUNDS} rounds of a round's median. In brackets how many times as long as caracal, taken
inside each round: median, least and most. By `bench/media.py`.

| what | caracal | peers |
|---|---:|---|
""" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
