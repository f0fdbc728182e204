"""A WordPiece vocabulary of its own for each checkpoint."""

import tempfile
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_wordpiece(class_name, texts, size, lower, max_length, alphabet="", **options):
    """A tokenizer of that class of transformers, over a vocabulary learnt from the texts and all of `alphabet`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        pieces = sorted(vocabulary, key=vocabulary.get)
        pieces += [x for c in alphabet for x in (c, f"##{c}") if x not in vocabulary]
        path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        make = getattr(transformers, class_name)
        return make(str(path), do_lower_case=lower, model_max_length=max_length, **options)
