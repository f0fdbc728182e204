"""The reference data of tests/data/models: one directory a case, made by running transformers itself.

A case directory holds the checkpoint as save_pretrained writes it, and reference.0.safetensors, reference.1.safetensors
...: one file per input set, with inputs and outputs together.
- `inputs.<forward argument>`; a key/value cache is `inputs.past_key_values.<layer>.keys`, `.values` and, beside
  cross-attention, `.cross_keys`, `.cross_values`, each (B, heads, length, head size).
- Outputs in float32 under the names of transformers' ModelOutput (eager attention): `logits`, `last_hidden_state`,
  `hidden_states.0` ..., `attentions.0` ..., `cross_attentions.0` ..., `past_key_values.0.keys` ..., ...; no losses.
- `__metadata__`, all strings: "class" (what the checkpoint is opened as), "task" (the Auto class to open it with),
  "set" (what the inputs show), and in JSON "arguments" (forward arguments that are no tensors and differ from the
  defaults; hidden states and attentions are asked for where they are stored), "load" (arguments of from_pretrained) and
  "loading_info" (missing_keys and unexpected_keys sorted; mismatched_keys with the shape in the checkpoint and in the
  model; the names are those of the module tree, as transformers has them).
  An output that depends on freshly drawn weights is left out: the model is loaded with two seeds, what differs is not
  stored. (What a fresh bias of 0 gives does not differ, and stays.)

Everything is seeded; the versions are those of requirements.txt. Each result is recomputed in float64 and must agree
within half of the tests' tolerance, so that a failing test means a wrong library and not an unlucky golden.

Rows of a padded batch. transformers computes masked positions too; a library that drops padding returns 0 there, so
tests compare the positions where the mask is 1. With `inputs.attention_mask` (B, P + S), for P cached and S new tokens:
per-token outputs (hidden states, last_hidden_state, (B, S, .) logits, start_logits, end_logits, prediction_logits) and
the queries of attentions and cross_attentions count where the mask of the last S is 1; past_key_values (length P + S)
and the keys of attentions where it is 1. The keys of cross_attentions and cross_keys, cross_values count where
`inputs.encoder_attention_mask` is 1. A multiple-choice mask (B, N, S) counts as (B * N, S).
pooler_output, and logits made from it or from the first token, come from position 0, which is a padding position under
left padding; without a causal mask it is computed like any other, and compared.
Audio. `inputs.attention_mask` (B, N) is one of samples, of which only each row's sum counts, wherever its ones are: the
frames that count are the first ones of each row, as many as that many samples give (goldens/wav2vec2.py, frames_of).
They count in hidden_states, extract_features, projected_states, projected_quantized_states, (B, T, .) logits, and in
the queries and keys of attentions; last_hidden_state and logits behind an adapter have its frames, counted by its own
formula. Outputs without frames count whole: logits (B, .), embeddings, codevector_perplexity. Masked frames are 0 going
into the positional convolution and are seen by no frame in attention, but they are computed like any other, and some
counted values are made from them: a frame at the end of a row behind an adapter, the embeddings of an XVector model
(whose lengths leave out the dilation, so that it looks past the end) and codevector_perplexity without
mask_time_indices (a mean over all frames). Without a mask every frame counts, the padding's too.
File `adapter.<language>.safetensors` belongs to the argument target_lang of from_pretrained.

LayoutLMv2. The positions of hidden_states, attentions and last_hidden_state are those of the text, which
`inputs.attention_mask` (B, S) masks, and behind them those of the image, which always count. Logits have the text's.
pooler_output and the logits of sequence classification are made from position 0, masked or not.

Rows whose query sees no key at all are left out of the goldens, because the two attention paths of transformers
disagree: "eager" adds finfo.min to every score and gets a uniform softmax over all positions, "sdpa" passes a boolean
mask and gets an attention output of 0. So no sequence is fully masked, and where a causal mask meets a masked first
token nothing is made from position 0.
"""
