"""Input sets of the text models."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Text:
    """One call. Masks: "" (none given), "ones", "right", "left", "holes" (the first token stays in a causal model)."""

    name: str
    batch: int = 2
    length: int = 11  # new tokens
    mask: str = ""
    lengths: tuple = ()  # real tokens of each row, for "right" and "left"; drawn where empty
    mask_dtype: torch.dtype = torch.long
    ids_dtype: torch.dtype = torch.long
    types: bool = False
    positions: str = ""  # "", "random" (B, S), "row" (1, S), broadcast over the batch, "permuted" (B, S)
    embeds: bool = False  # inputs_embeds in place of input_ids
    choices: int = 0  # (B, N, S)
    past: int = 0  # tokens in the cache; the mask covers them too
    encoder: int = 0  # length of encoder_hidden_states
    encoder_mask: str = ""
    arguments: tuple = ()  # pairs
    attentions: bool = True  # store them: they are heads x S x S

    def make(self, config, generator, model):
        """(the forward arguments in the dtypes that a tokenizer gives, those that are no tensors)"""
        rows = self.batch * max(self.choices, 1)
        shape = (rows, self.past + self.length)
        inputs = {}
        if self.embeds:
            inputs["inputs_embeds"] = torch.randn(*shape, config.hidden_size, generator=generator)
        else:
            inputs["input_ids"] = torch.randint(0, config.vocab_size, shape, generator=generator).to(self.ids_dtype)
        if self.mask:
            causal = getattr(config, "is_decoder", False)
            mask = make_mask(self.mask, *shape, generator, self.lengths, past=self.past, keep_first=causal)
            inputs["attention_mask"] = mask.to(self.mask_dtype)
        if self.types:
            types = getattr(config, "type_vocab_size", 2)  # DistilBERT ignores them
            inputs["token_type_ids"] = torch.randint(0, types, shape, generator=generator)
        if self.positions:
            inputs["position_ids"] = self.make_positions(shape, config, generator)
        if self.encoder:
            encoder = torch.randn(rows, self.encoder, config.hidden_size, generator=generator)
            inputs["encoder_hidden_states"] = encoder
        if self.encoder_mask:
            inputs["encoder_attention_mask"] = make_mask(self.encoder_mask, rows, self.encoder, generator)
        if self.past:
            inputs = self.continued(inputs, model)
        if self.choices:
            inputs = {name: x.reshape(self.batch, self.choices, *x.shape[1:]) for name, x in inputs.items()}
        return inputs, dict(self.arguments)

    def make_positions(self, shape, config, generator):
        rows, longest = shape[0], config.max_position_embeddings
        if self.positions == "row":
            return torch.randperm(longest, generator=generator)[: shape[1]].view(1, -1)
        if self.positions == "permuted":
            return torch.stack([torch.randperm(longest, generator=generator)[: shape[1]] for _ in range(rows)])
        return torch.randint(0, longest, shape, generator=generator)

    def continued(self, inputs, model):
        """The same call with its first `past` tokens in a cache that the model itself makes."""
        from .common import run

        per_token = {"input_ids", "inputs_embeds", "token_type_ids", "position_ids", "attention_mask"}
        first = {name: x[:, : self.past] if name in per_token else x for name, x in inputs.items()}
        cache = {k: v for k, v in run(model, first, {"use_cache": True}).items() if k.startswith("past_key_values.")}
        assert cache
        cut = per_token - {"attention_mask"}
        return {name: x[:, self.past :] if name in cut else x for name, x in inputs.items()} | cache


def make_mask(kind, rows, length, generator, lengths=(), past=0, keep_first=False):
    """(rows, length); no row is all 0, and the new tokens of a continued call are real."""
    if kind == "ones":
        return torch.ones(rows, length, dtype=torch.long)
    if kind == "holes":
        mask = torch.ones(rows, length, dtype=torch.long)
        for row in range(rows):
            if row % 3 == 0:  # one hole
                mask[row, length // 3 : length // 2 + 1] = 0
            elif row % 3 == 1:  # every other token
                mask[row, 1::2] = 0
            else:  # middle and right padding
                mask[row, [length // 2, length - 1]] = 0
        mask[:, 0] = 1
        if length > 3 and not keep_first:
            mask[-1, 0] = 0  # the first token itself
        mask[:, past:] |= int(past > 0)
        return mask
    lengths = list(lengths)
    while len(lengths) < rows:  # a full row, a short one, ...
        row = len(lengths)
        lengths.append(length if row == 0 else int(torch.randint(1, length + 1, (), generator=generator)))
    mask = (torch.arange(length) < torch.tensor(lengths).view(rows, 1)).long()
    mask = mask.flip(1) if kind == "left" else mask
    mask[:, past:] |= int(past > 0)
    return mask


def masks(batch=3, length=11, **more):
    """No mask, right padding, left padding, holes."""
    return [
        Text("plain", 2, length, **more),
        Text("right", batch, length, "right", **more),
        Text("left", batch, length, "left", **more),
        Text("holes", batch, length, "holes", **more),
    ]
