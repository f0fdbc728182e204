"""What images and sound should become, by the Python libraries of requirements.txt; for make_media_goldens.py and check_media.py."""

import os
import sys

import numpy as np
import soundfile
import torch

torch.set_num_threads(1)
SAMPLING_RATE = 16000


def torchaudio_resample():
    """torchaudio.functional.resample, which is plain PyTorch. The newest torchaudio on PyPI was built for an older torch and
    must not lie in its site-packages (transformers would import it and fail): pip install --no-deps --target DIR
    torchaudio==2.11.0, and DIR in TORCHAUDIO_DIR."""
    sys.path.append(os.environ["TORCHAUDIO_DIR"])
    built_with, torch.version.cuda = torch.version.cuda, None  # it compares CUDA versions, which resampling does not use
    import torchaudio

    torch.version.cuda = built_with
    return torchaudio.functional.resample


def decode_audio(path):
    """(channels, N) float32 and the rate, by soundfile."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples.T), rate


def load_audio(path, resample, rate=SAMPLING_RATE):
    """As transformers.audio_utils.load_audio(path, rate, backend="torchaudio") does with torchaudio's decoder."""
    samples, original = decode_audio(path)
    mono = torch.from_numpy(samples).mean(dim=0)
    if original != rate and mono.numel() > 0:
        mono = resample(mono, orig_freq=original, new_freq=rate)
    return mono.numpy().astype(np.float32)
