"""Trains tests/data/trained/wav2vec2-spoken-digits: Wav2Vec2 with CTC on digit strings spoken by espeak-ng.

    apt-get install espeak-ng
    python tools/train/wav2vec2_spoken_digits.py
"""

import itertools
import json
import tempfile
from pathlib import Path

import numpy
import soundfile
import torch
from common import fit, save, start, write_card
from speech import ACCENTS, DIGITS, HELD_OUT_VOICES, RATE, VOICES, clips, speak, word_errors
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

NAME = "wav2vec2-spoken-digits"
STEPS = 2400
# (file, text, accent, voice, words per minute, pitch): voices that were held out
SAMPLES = [
    ("pi.wav", "three one four", "en-us", "Annie", 160, 50),
    ("root_two.flac", "one four one four two", "en-gb", "f3", 180, 60),
    ("year.wav", "one nine six nine", "en-gb-scotland", "rob", 150, 40),
    ("zeros.flac", "zero zero seven", "en-us", "m5", 200, 50),
    ("phone.flac", "five five five zero one two eight six six three four nine seven two zero", "en-us", "f5", 140, 50),
]


def make_processor():
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *sorted(set("".join(DIGITS)))]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.json"
        vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
        tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    return Wav2Vec2Processor(Wav2Vec2FeatureExtractor(sampling_rate=RATE), tokenizer)


def make_model(tokenizer):
    return Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=1, eos_token_id=2,
            conv_dim=(32, 32, 64, 64, 64, 64), conv_kernel=(10, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2),
            hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256,
            num_conv_pos_embeddings=32, num_conv_pos_embedding_groups=8, layerdrop=0.0, apply_spec_augment=False,
            hidden_dropout=0.05, attention_dropout=0.05, activation_dropout=0.05, feat_proj_dropout=0.0,
            final_dropout=0.0, ctc_loss_reduction="mean", ctc_zero_infinity=True,
        )
    )  # fmt: skip


def disturbed(samples, rng, noise):
    """Louder or softer, with silence around it and noise over it."""
    sides = [numpy.zeros(rng.randint(0, RATE // 5), numpy.float32) for _ in range(2)]
    x = numpy.concatenate([sides[0], samples, sides[1]]) * 10 ** rng.uniform(-0.7, 0.0)
    return x + noise.standard_normal(len(x), numpy.float32) * abs(x).max() * 10 ** rng.uniform(-3.5, -1.5)


def batches(examples, processor, rng, size=16):
    """Clips of like length together, because padding counts in the group norm; at first short ones only."""
    noise = numpy.random.default_rng(0)
    examples = sorted(examples, key=lambda row: len(row[1]))
    for step in itertools.count():
        usable = int(len(examples) * min(1.0, 0.3 + step / (0.3 * STEPS)))
        first = rng.randrange(0, usable - size)
        rows = examples[first : first + size]
        sound = processor([disturbed(samples, rng, noise) for _, samples in rows], sampling_rate=RATE, padding=True,
                          return_tensors="pt")  # fmt: skip
        labels = processor.tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
        yield {"input_values": sound.input_values,
               "labels": labels.input_ids.masked_fill(labels.attention_mask == 0, -100)}  # fmt: skip


def transcribe(model, processor, samples):
    with torch.inference_mode():
        logits = model(processor(samples, sampling_rate=RATE, return_tensors="pt").input_values).logits
    return processor.decode(logits[0].argmax(-1))


def main():
    rng = start()
    processor = make_processor()
    train, test = clips(rng, VOICES, 2400), clips(rng, HELD_OUT_VOICES, 200)
    print(f"{sum(len(x) for _, x in train) / RATE / 60:.0f} minutes of speech", flush=True)
    model = make_model(processor.tokenizer)
    fit(model, batches(train, processor, rng), STEPS, learning_rate=2e-3)
    errors = sum(word_errors(transcribe(model, processor, samples), text) for text, samples in test)
    words = sum(len(text.split()) for text, _ in test)
    voices = len(HELD_OUT_VOICES)
    metric = f"word error {errors / words:.1%} on {len(test)} clips ({words} words) of {voices} other voices."
    print(metric, flush=True)

    path = save(NAME, model, processor)
    for name, text, *voice in SAMPLES:
        samples = speak(text, *voice)
        soundfile.write(path / name, samples, RATE, subtype="PCM_16")
        print(f"{name}: '{text}' was heard as '{transcribe(model, processor, samples)}'")
    write_card(
        NAME, "automatic-speech-recognition",
        "A Wav2Vec2 (group norm, CTC) that writes down spoken English digits, at 8 kHz.",
        f"{len(train)} strings of one to six digits spoken by espeak-ng in {len(VOICES)} voices and {len(ACCENTS)} "
        "accents, at 130 to 210 words a minute. The WAV and FLAC files here are of voices held out.",
        metric,
    )  # fmt: skip


if __name__ == "__main__":
    main()
