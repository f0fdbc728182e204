"""Spoken digit strings by espeak-ng, at 8 kHz: many voices and speeds, some of them held out."""

import io
import subprocess

import numpy
import soundfile
from scipy.signal import resample_poly

RATE = 8000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ["en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc"]
VOICES = ["m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f4", "Alex", "Andy", "Alicia", "Andrea", "david", "Denis",
          "Gene", "Hugo", "john", "Lee", "Marco", "Michael", "paul", "steph", "Tweaky", "zac", "belinda"]  # fmt: skip
HELD_OUT_VOICES = ["m5", "f3", "f5", "Annie", "linda", "Jacky", "rob", "robert"]


def speak(text, accent, voice, words_per_minute, pitch):
    """float32 samples (N), between -1 and 1."""
    command = ["espeak-ng", "--stdout", "-v", f"{accent}+{voice}", "-s", str(words_per_minute), "-p", str(pitch), text]
    sound = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate == 22050
    return resample_poly(samples, 160, 441).astype(numpy.float32)


def clip(rng, voices, digits):
    """(text, samples) of so many random digits, of a random voice."""
    text = " ".join(rng.choice(DIGITS) for _ in range(digits))
    return text, speak(text, rng.choice(ACCENTS), rng.choice(voices), rng.randint(130, 210), rng.randint(25, 75))


def clips(rng, voices, count, longest=6):
    return [clip(rng, voices, rng.randint(1, longest)) for _ in range(count)]


def word_errors(got, want):
    """Edits between two texts, in words."""
    got, want = got.split(), want.split()
    row = list(range(len(got) + 1))
    for i, word in enumerate(want, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
