"""Writes tests/data/media: small image and sound files, and what Pillow, torchaudio and transformers make of them.

    TORCHAUDIO_DIR=DIR python tools/make_media_goldens.py --data DATA [--output tests/data/media]

DATA/images and DATA/audio hold the borrowed files named below (SOURCES.md in the output says whose they are); all others
are made here. TORCHAUDIO_DIR: see media_reference.py.
"""

import argparse
import io
import json
import logging
import pathlib
import shutil
import struct
import zlib

import numpy as np
import soundfile
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import save_file
from transformers import (LayoutLMv2ImageProcessorPil, LayoutLMv2Processor, LayoutLMv2Tokenizer,
                          ViTImageProcessorPil, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor)
from transformers.image_utils import load_image

import media_reference

logging.disable(logging.WARNING)
BORROWED_IMAGES = {
    "arithmetic_coded.jpg": "libjpeg-turbo testimages/testimgari.jpg, IJG/BSD",
    "bad_truncated.jpg": "scikit-image truncated.jpg, BSD-3-Clause",
    "bad_truncated_progressive.jpg": "Pillow Tests/images/truncated_jpeg.jpg, MIT-CMU",
    "checker_bilevel.png": "scikit-image, BSD-3-Clause",
    "foo3x5x4indexed.png": "scikit-image, BSD-3-Clause",
    "gray16_interlaced.png": "PngSuite basi0g16, free use",
    "i16_trns.png": "Pillow Tests/images/i_trns.png, MIT-CMU",
    "la.png": "Pillow Tests/images/uncompressed_la.png, MIT-CMU",
    "narrow_1x9.png": "image-rs narrow.pbm.png, MIT/Apache-2.0",
    "palette_gray.png": "scikit-image, BSD-3-Clause",
    "rgb16.png": "PngSuite basn2c16, free use",
    "rgb_trns.png": "PngSuite tbrn2c08, free use",
    "tiny_1x1_gray.jpg": "Pillow Tests/images/jfif_unit_cm.jpg, MIT-CMU",
    "tiny_2x1_exif.jpg": "Pillow Tests/images/orientation_rectangle.jpg, MIT-CMU",
}
BORROWED_AUDIO = {
    "24bit_3ch_8k.wav": "scipy test-8000Hz-le-3ch-5S-24bit.wav, BSD-3-Clause",
    "bad_early_eof.wav": "scipy test-44100Hz-le-1ch-4bytes-early-eof.wav, BSD-3-Clause",
    "short_44k_mono_3samples_24bit.wav": "audiomentations demo/mono_int24.wav, MIT",
    "ulaw_8k.wav": "scipy test-8000Hz-le-1ch-1byte-ulaw.wav, BSD-3-Clause",
}


def picture(height, width, channels, seed=0):
    """Smooth areas, an edge and noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / (3 + c) + y / 7 + c) for c in range(channels)]
    image = np.stack(waves, -1) + np.random.default_rng(seed).normal(0, 12, (height, width, channels))
    image[height // 3: height // 2, width // 4: width // 2] = 250
    return np.clip(image, 0, 255).astype(np.uint8)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png, kind, data):
    """The PNG with one more chunk after its header."""
    return png[:33] + png_chunk(kind, data) + png[33:]


def raw_png(samples, depth, color_type):
    """A PNG of any bit depth, which Pillow cannot write; `samples` are (height, width, channels) numbers."""
    height, width = samples.shape[:2]
    rows = []
    for row in samples.reshape(height, -1):
        bits = "".join(format(int(v), f"0{depth}b") for v in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"".join(rows)))
            + png_chunk(b"IEND", b""))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def make_images(folder):
    rgb, gray = Image.fromarray(picture(37, 53, 3)), Image.fromarray(picture(37, 53, 1)[:, :, 0])
    rgba = Image.fromarray(picture(37, 53, 4))
    small = Image.fromarray(picture(12, 20, 3, 5))
    files = {}
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        files[f"baseline_{name}.jpg"] = encoded(rgb, "JPEG", quality=85, subsampling=subsampling)
    files["progressive.jpg"] = encoded(rgb, "JPEG", progressive=True, quality=70)
    files["restarts.jpg"] = encoded(rgb, "JPEG", restart_marker_rows=1)
    files["gray.jpg"] = encoded(gray, "JPEG")
    files["cmyk.jpg"] = encoded(rgb.convert("CMYK"), "JPEG", quality=90)
    for orientation in range(0, 10):
        files[f"exif{orientation}.jpg"] = encoded(small, "JPEG", exif=exif_of(orientation))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    files["xmp6.jpg"] = encoded(small, "JPEG", xmp=xmp)
    files["xmp6.png"] = with_chunk(encoded(small, "PNG"), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    files["exif8.png"] = encoded(small, "PNG", exif=exif_of(8))
    files["exif6.webp"] = encoded(small, "WEBP", lossless=True, exif=exif_of(6))
    files["exif_damaged.jpg"] = encoded(small, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    files["rgb.png"], files["rgba.png"] = encoded(rgb, "PNG"), encoded(rgba, "PNG")
    files["la.png"] = encoded(rgba.convert("LA"), "PNG")
    palette = rgb.quantize(17)
    files["palette.png"] = encoded(palette, "PNG", bits=8)
    files["palette_4bit_trns.png"] = encoded(rgb.quantize(9), "PNG", transparency=3)
    files["gamma.png"] = with_chunk(encoded(rgb, "PNG"), b"gAMA", struct.pack(">I", 100000))
    for depth in [1, 2, 4, 8, 16]:
        values = picture(19, 23, 1, depth).astype(int) * ((1 << depth) - 1) // 255
        files[f"gray_{depth}bit.png"] = raw_png(values, depth, 0)
    values = picture(19, 23, 4, 3).astype(int) * 257 + 90
    files["rgba_16bit.png"] = raw_png(np.minimum(values, 65535), 16, 6)
    files["la_16bit.png"] = raw_png(np.minimum(values[:, :, :2], 65535), 16, 4)
    files["lossy.webp"], files["lossless.webp"] = encoded(rgb, "WEBP", quality=60), encoded(rgb, "WEBP", lossless=True)
    files["alpha.webp"] = encoded(rgba, "WEBP", quality=80)
    files["animated.webp"] = encoded(small, "WEBP", save_all=True, append_images=[small.rotate(180)], lossless=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def make_decode_goldens(output):
    """Pixels of every file as transformers' load_image gives them, and what Pillow says of those that it refuses."""
    pixels, verdicts = {}, {}
    for path in sorted((output / "images").iterdir()):
        try:
            pixels[path.name] = np.ascontiguousarray(np.asarray(load_image(str(path))))
            with Image.open(path) as image:
                verdicts[path.name] = {"format": image.format, "orientation": image.getexif().get(0x0112, 1)}
        except Exception as error:  # noqa: BLE001
            verdicts[path.name] = {"error": str(error)}
    save_file(pixels, output / "decoded.safetensors")
    (output / "decoded.json").write_text(json.dumps(verdicts, indent=1, sort_keys=True) + "\n")


def make_resize_goldens(output):
    """Every filter, up and down, in each order of the passes; also one channel and alpha."""
    pairs = [((1, 1), (3, 5)), ((5, 7), (1, 1)), ((9, 4), (4, 9)), ((16, 16), (16, 40)), ((33, 20), (11, 20)),
             ((40, 10), (20, 8)), ((40, 10), (21, 3)), ((64, 3), (5, 2)), ((3, 64), (2, 5)), ((21, 34), (34, 21)),
             ((60, 45), (17, 19)), ((30, 50), (29, 49)), ((12, 18), (50, 31)), ((100, 2), (7, 8)), ((2, 100), (40, 3)),
             ((25, 37), (26, 36)), ((130, 5), (40, 2)), ((37, 300), (5, 9))]
    tensors = {}
    for number, ((height, width), (new_height, new_width)) in enumerate(pairs):
        for channels in [3] if number % 3 else [3, 1, 2, 4]:
            image = picture(height, width, channels, number)
            if number % 2:
                image = np.random.default_rng(number).integers(0, 256, image.shape, dtype=np.uint8)
            tensors[f"in.{number}.{channels}"] = image
            pillow = Image.fromarray(image[:, :, 0] if channels == 1 else image)
            for resample in range(6):
                out = np.asarray(pillow.resize((new_width, new_height), resample)).reshape(new_height, new_width, channels)
                tensors[f"out.{number}.{channels}.{resample}"] = np.ascontiguousarray(out)
    save_file(tensors, output / "resize.safetensors")


def image_cases(images):
    """(processor, its arguments, images, arguments of the call)."""
    vit, layout = ViTImageProcessorPil, LayoutLMv2ImageProcessorPil
    size, no = {"height": 14, "width": 10}, {"do_resize": False}
    yield vit, {"size": 40}, ["a"], {}
    for call in [{"size": 9}, {"size": [7, 12]}, {"size": size, "resample": 3}, {"size": {"shortest_edge": 11}},
                 {"size": {"shortest_edge": 11, "longest_edge": 13}}, {"size": {"shortest_edge": 20, "longest_edge": 90}},
                 {"size": {"max_height": 9, "max_width": 30}}, {"size": 8, "default_to_square": False},
                 {"size": size, "do_rescale": False}, {"size": size, "do_normalize": False},
                 {"size": size, "do_rescale": False, "do_normalize": False}, {"size": size, "rescale_factor": 0.5},
                 {"size": size, "image_mean": 0.25, "image_std": 0.75},
                 {"size": size, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
                 {"size": size, "do_center_crop": True, "crop_size": {"height": 5, "width": 4}},
                 {"size": size, "do_center_crop": True, "crop_size": 21}, {**no, "do_center_crop": True, "crop_size": [40, 9]},
                 {**no, "do_center_crop": True, "crop_size": [9, 60]}, {"size": size, "do_pad": True, "pad_size": [20, 31]},
                 {**no, "do_pad": True}, {"size": size, "resample": 0}, {"size": size, "data_format": "channels_last"}]:
        yield vit, {}, ["a"], call
    yield vit, {"size": size}, ["a", "b", "d"], {}
    yield vit, {}, ["a", "b"], {**no, "do_pad": True}
    yield vit, {}, ["a", "b"], no
    for resample in ["PIL.Image.BOX", "PIL.Image.LANCZOS", "hamming"]:
        yield vit, {"size": 12, "resample": resample}, ["a"], {}
    yield vit, {"size": 12, "do_convert_rgb": True}, ["gray", "rgba", "a"], {}
    yield vit, {"size": 12}, ["planes"], {}
    yield vit, {"size": 12, "image_mean": [0.1], "image_std": [0.2]}, ["gray"], {}
    yield vit, {"size": 12, "image_mean": [0.1] * 4, "image_std": [0.2] * 4}, ["rgba"], {}
    yield vit, {"size": 12}, ["batch"], {}
    yield vit, {"size": 12}, ["ambiguous"], {}
    yield vit, {"size": 12}, ["ambiguous"], {"input_data_format": "channels_last"}
    yield vit, {"size": 12, "do_rescale": False}, ["unit"], {}
    yield vit, {"size": 12}, ["whole"], {}
    yield vit, no, ["unit"], {"do_rescale": False}
    yield vit, no, ["unit", "whole"], {"do_center_crop": True, "crop_size": [40, 50]}
    yield vit, {"do_convert_rgb": True, "do_rescale": False, **no}, ["unit_rgba"], {}
    yield layout, {"apply_ocr": False, "size": 40}, ["a"], {}
    yield layout, {"apply_ocr": False, "size": size, "resample": 3}, ["a", "b"], {}
    yield layout, {"apply_ocr": False, "size": size}, ["unit"], {}
    yield layout, {"apply_ocr": False}, ["a"], no
    # Refused.
    for call in [{"size": {"longest_edge": 5}}, {"size": {"height": 0, "width": 3}}, {"resample": 9}, {"do_center_crop": True},
                 {"do_pad": True, "pad_size": [3, 3]}, {"image_mean": [0.1, 0.2]}, {"unknown": 1}, {"do_resize": "x"},
                 {"size": {"height": 3}}, {"size": "x"}]:
        yield vit, {}, ["a"], call
    yield vit, {}, ["gray"], {}
    yield vit, {}, ["rgba"], {}
    yield vit, {}, ["seven"], {}
    yield vit, {}, ["too_bright"], {}


def make_processor_goldens(output):
    images = {"a": picture(23, 31, 3, 1), "b": picture(31, 18, 3, 2), "d": picture(14, 10, 3, 3), "gray": picture(20, 15, 1, 4),
              "rgba": picture(20, 15, 4, 5), "planes": np.ascontiguousarray(picture(20, 15, 3, 6).transpose(2, 0, 1)),
              "batch": np.stack([picture(9, 11, 3, 7), picture(9, 11, 3, 8)]), "ambiguous": picture(3, 5, 3, 9),
              "unit": picture(23, 31, 3, 10).astype(np.float32) / np.float32(255.5),
              "whole": picture(23, 31, 3, 11).astype(np.float32), "seven": picture(20, 15, 7, 12),
              "unit_rgba": picture(8, 9, 4, 13).astype(np.float32) / np.float32(256),
              "too_bright": picture(8, 9, 3, 14).astype(np.float32) + np.float32(0.5)}
    tensors, cases = {f"image.{name}": image for name, image in images.items()}, []
    for number, (kind, arguments, names, call) in enumerate(image_cases(images)):
        case = {"class": kind.__name__[:-3], "arguments": arguments, "images": names, "call": call}
        try:
            processor = kind(**arguments)
            case["saved"] = processor.to_json_string()
            named = arguments.get("resample")
            if isinstance(named, str):  # transformers prints the name and then resizes with BILINEAR; we do as it says
                processor.resample = Image.Resampling[named.split(".")[-1].upper()]
            given = images[names[0]] if names[0] == "batch" else [images[name] for name in names]
            values = processor(given, **call)["pixel_values"]
            case["outputs"] = len(values)
            for i, value in enumerate(values):
                tensors[f"out.{number}.{i}"] = np.ascontiguousarray(value)
        except Exception as error:  # noqa: BLE001
            case["error"] = str(error).split("\n")[0][:160]
        cases.append(case)
    save_file(tensors, output / "processors.safetensors")
    (output / "processors.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))


def make_audio(folder):
    t = np.arange(1200)
    rng = np.random.default_rng(3)
    mono = (0.6 * np.sin(t / 5) + 0.2 * np.sin(t / 1.7) + rng.normal(0, 0.05, len(t))).clip(-1, 0.9999)
    stereo = np.stack([mono, mono[::-1] * 0.5], 1)
    for name, data, rate, subtype, kind in [
        ("u8.wav", mono, 16000, "PCM_U8", "WAV"), ("s16.wav", mono, 8000, "PCM_16", "WAV"), ("s24.wav", mono, 44100, "PCM_24", "WAV"),
        ("s32_stereo.wav", stereo, 22050, "PCM_32", "WAV"), ("f32_stereo.wav", stereo, 48000, "FLOAT", "WAV"),
        ("f64.wav", mono, 11025, "DOUBLE", "WAV"), ("mulaw.wav", mono, 8000, "ULAW", "WAV"), ("alaw_stereo.wav", stereo, 8000, "ALAW", "WAV"),
        ("extensible.wav", stereo, 16000, "PCM_24", "WAVEX"), ("rf64.wav", mono, 32000, "PCM_16", "RF64"),
        ("s16.flac", mono, 16000, "PCM_16", "FLAC"), ("s24_stereo.flac", stereo, 44100, "PCM_24", "FLAC"), ("s8.flac", mono, 8000, "PCM_S8", "FLAC"),
    ]:
        soundfile.write(folder / name, data, rate, subtype=subtype, format=kind)
    soundfile.write(folder / "empty.wav", mono[:0], 16000, subtype="PCM_16")


def make_audio_goldens(output):
    resample, tensors, verdicts = media_reference.torchaudio_resample(), {}, {}
    for path in sorted((output / "audio").iterdir()):
        try:
            samples, rate = media_reference.decode_audio(path)
            tensors[f"{path.name}.samples"] = samples
            tensors[f"{path.name}.mono"] = media_reference.load_audio(path, resample)
            verdicts[path.name] = {"rate": rate}
        except Exception as error:  # noqa: BLE001
            verdicts[path.name] = {"error": str(error)}
    save_file(tensors, output / "audio.safetensors")
    (output / "audio.json").write_text(json.dumps(verdicts, indent=1, sort_keys=True) + "\n")


def make_extractor_goldens(output):
    rng = np.random.default_rng(1)
    sounds = {"a": rng.normal(0.1, 0.3, 300).astype(np.float32), "b": rng.normal(0, 1, 411).astype(np.float32),
              "c": rng.normal(-0.2, 0.1, 57).astype(np.float32), "flat": np.full(100, 0.25, np.float32)}
    tensors, cases = {f"sound.{name}": sound for name, sound in sounds.items()}, []
    calls = [{}, {"padding": "longest"}, {"padding": "max_length", "max_length": 420}, {"padding": "longest", "pad_to_multiple_of": 64},
             {"padding": "max_length", "max_length": 200, "truncation": True},
             {"padding": "max_length", "max_length": 200, "truncation": True, "pad_to_multiple_of": 64},
             {"truncation": True, "max_length": 100}, {"padding": "longest", "return_attention_mask": True}, {"sampling_rate": 16000}]
    for arguments in [{}, {"return_attention_mask": True}, {"do_normalize": False, "padding_value": 0.5},
                      {"return_attention_mask": True, "padding_side": "left", "padding_value": -1.0}, {"padding_side": "left"}]:
        for call in calls:
            cases.append({"arguments": arguments, "sounds": ["a", "b", "c"], "call": call})
    cases.append({"arguments": {}, "sounds": ["flat"], "call": {}})
    for call in [{"sampling_rate": 8000}, {"padding": "max_length"}, {"truncation": True}, {"padding": "sideways"}]:
        cases.append({"arguments": {}, "sounds": ["a"], "call": call})
    for number, case in enumerate(cases):
        try:
            extractor = Wav2Vec2FeatureExtractor(**case["arguments"])
            case["saved"] = extractor.to_json_string()
            result = extractor([sounds[name].copy() for name in case["sounds"]], **case["call"])
            case["keys"] = list(result.keys())
            for key, values in result.items():
                for i, value in enumerate(values):
                    tensors[f"out.{number}.{key}.{i}"] = np.ascontiguousarray(value)
        except Exception as error:  # noqa: BLE001
            case["error"] = str(error).split("\n")[0][:160]
    save_file(tensors, output / "extractor.safetensors")
    (output / "extractor.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))


def make_ocr_goldens(output):
    """Two pages in Pillow's own font, and their words and boxes by pytesseract as LayoutLMv2ImageProcessor uses it."""
    texts = {"letter": ("RGB", ["Invoice 2026-117", "Caracal Systems Ltd.", "3 sensors at $14.50 each", "Total due: $43.50"]),
             "note": ("L", ["In a hole in the ground", "there lived a hobbit."])}
    verdicts = {}
    for name, (mode, lines) in texts.items():
        page = Image.new(mode, (420, 40 + 44 * len(lines)), "white")
        for i, line in enumerate(lines):
            ImageDraw.Draw(page).text((24, 20 + 44 * i), line, fill=0, font=ImageFont.load_default(26))
        page.save(output / "pages" / f"{name}.png", optimize=True)
        for config in ["", "--psm 6"]:
            image = np.asarray(load_image(str(output / "pages" / f"{name}.png")))
            result = LayoutLMv2ImageProcessorPil(tesseract_config=config)(image, input_data_format="channels_last")
            verdicts[f"{name} {config}".strip()] = {"words": result["words"][0], "boxes": result["boxes"][0]}
    (output / "pages.json").write_text(json.dumps(verdicts, indent=1) + "\n")


def make_combined_goldens(output):
    """Wav2Vec2Processor and LayoutLMv2Processor as saved by transformers, and what calls of them give."""
    shutil.rmtree(output / "combined", ignore_errors=True)
    vocabularies = output / "combined" / "vocabularies"
    vocabularies.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    speech = ["<pad>", "<s>", "</s>", "<unk>", "|", *letters.upper(), "'"]
    (vocabularies / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(speech)}))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters), *"0123456789$.:?-",
              "hole", "ground", "##ound", "hobbit", "what", "is", "the"]
    (vocabularies / "vocab.txt").write_text("\n".join(pieces) + "\n")
    wav2vec2 = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(return_attention_mask=True),
                                 Wav2Vec2CTCTokenizer(str(vocabularies / "vocab.json")))
    wav2vec2.save_pretrained(output / "combined/wav2vec2")
    sounds = [np.sin(np.arange(n) / 7).astype(np.float32) for n in (50, 33)]
    both = wav2vec2(audio=sounds, text=["HELLO WORLD", "A'B"], sampling_rate=16000)
    speech_case = {"labels": both["labels"], "keys": sorted(both), "text_only": wav2vec2(text=["HELLO WORLD"])["input_ids"],
                   "decoded": wav2vec2.decode([5, 5, 0, 5, 4, 4, 6])}

    tokenizer, cases = LayoutLMv2Tokenizer(str(vocabularies / "vocab.txt")), []
    words, boxes = [["hole", "In", "ground"], ["hobbit", "a", "12"]], [[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]] * 2
    images = [picture(30, 40, 3, 20), picture(50, 20, 3, 21)]
    page = np.asarray(load_image(str(output / "pages/note.png")))
    for ocr, call in [(False, {}), (False, {"word_labels": [[0, 1, 2], [3, 4, 5]]}), (False, {"padding": True}),
                      (False, {"questions": ["what is the hole?", "is a?"], "padding": True}),
                      (False, {"max_length": 7, "truncation": True, "stride": 1, "return_overflowing_tokens": True}),
                      (True, {}), (True, {"questions": ["what is the hole?"]}), (True, {"max_length": 8, "truncation": True})]:
        processor = LayoutLMv2Processor(LayoutLMv2ImageProcessorPil(apply_ocr=ocr), tokenizer)
        arguments = {key: value for key, value in call.items() if key != "questions"}
        if "return_overflowing_tokens" in call:
            arguments["return_offsets_mapping"] = True
        if ocr:
            result = processor([page], call.get("questions"), **arguments)
        elif "questions" in call:
            result = processor(images, call["questions"], words, boxes=boxes, **arguments)
        else:
            result = processor(images, words, boxes=boxes, **arguments)
        kept = ["input_ids", "token_type_ids", "attention_mask", "bbox", "labels"]
        cases.append({"ocr": ocr, "call": call, "result": {key: result[key] for key in kept if key in result},
                      "image_sums": [int(image.sum()) for image in result["image"]]})
    LayoutLMv2Processor(LayoutLMv2ImageProcessorPil(apply_ocr=False), tokenizer).save_pretrained(output / "combined/layoutlmv2")
    save_file({"sound.0": sounds[0], "sound.1": sounds[1], "image.0": images[0], "image.1": images[1]},
              output / "combined/inputs.safetensors")
    (output / "combined/cases.json").write_text(json.dumps({"wav2vec2": speech_case, "layoutlmv2": cases, "words": words,
                                                           "boxes": boxes}) + "\n")
    shutil.rmtree(vocabularies)


def make_pad_goldens(output):
    """Wav2Vec2Processor.pad of features, of labels, and of both."""
    processor, cases = Wav2Vec2Processor.from_pretrained(output / "combined/wav2vec2"), []
    plain = {"input_values": [[0.5, 1.0, 2.0, 3.0, 4.0], [6.0, 7.0, 8.0]]}
    masked, labels = {**plain, "attention_mask": [[1, 1, 1, 1, 0], [1, 0, 1]]}, [[5, 6], [7, 8, 9]]
    for call in [{}, {"padding": "max_length", "max_length": 7}, {"pad_to_multiple_of": 4}, {"padding": False},
                 {"return_attention_mask": False}, {"truncation": True, "max_length": 4},
                 {"truncation": True, "max_length": 4, "return_attention_mask": False}]:
        for features, ids in [(plain, None), (masked, None), (masked, labels), (None, labels)]:
            if ids is not None and "return_attention_mask" in call:
                continue  # the tokenizer's mask would go, too; here it always comes
            given = features and {"input_values": [np.float32(v) for v in features["input_values"]]}
            if features and "attention_mask" in features:
                given["attention_mask"] = [np.int32(v) for v in features["attention_mask"]]
            case = {"features": features, "labels": ids, "call": call}
            try:
                result = processor.pad(given, labels=ids and {"input_ids": [list(row) for row in ids]}, **call)
                case["result"] = {key: [np.asarray(row).tolist() for row in rows] for key, rows in result.items()}
            except Exception as error:  # noqa: BLE001
                case["error"] = str(error)
            cases.append(case)
    (output / "combined/pad.json").write_text(json.dumps(cases) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/data/media"))
    o = parser.parse_args()
    for folder in ["images", "audio", "pages"]:
        shutil.rmtree(o.output / folder, ignore_errors=True)
        (o.output / folder).mkdir(parents=True)
    make_images(o.output / "images")
    make_audio(o.output / "audio")
    notes = ["# Sources", "", "Made by tools/make_media_goldens.py, except these files:", "", "| file | from, licence |", "|---|---|"]
    for folder, borrowed in [("images", BORROWED_IMAGES), ("audio", BORROWED_AUDIO)]:
        for name, source in borrowed.items():
            target = o.output / folder / ("borrowed_" + name)
            target.write_bytes((o.data / folder / name).read_bytes())
            notes.append(f"| {folder}/{target.name} | {source} |")
    (o.output / "SOURCES.md").write_text("\n".join(notes) + "\n")
    make_decode_goldens(o.output)
    make_resize_goldens(o.output)
    make_processor_goldens(o.output)
    make_audio_goldens(o.output)
    make_extractor_goldens(o.output)
    make_ocr_goldens(o.output)
    make_combined_goldens(o.output)
    make_pad_goldens(o.output)


if __name__ == "__main__":
    main()
