// What models return.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <caracal/models/modeling_inputs.h>
#include <caracal/runtime/tensor.h>

namespace caracal {

/// The outputs of every model class, under the names of transformers' ModelOutput fields; those that a class does not
/// produce, or was not asked for, are undefined. All F32 in the CPU's memory, whatever computes them, with B batch, S
/// tokens, H hidden size, C labels, V vocabulary; values at masked positions of per-token outputs are 0; for audio S is
/// frames; LayoutLMv2's hidden states and attentions have the page's cells behind the S tokens:
struct ModelOutput {
  Tensor last_hidden_state;        // (B, S, H)
  Tensor pooler_output;            // (B, H)
  Tensor logits;                   // (B, C); token classification (B, S, C); language models (B, S, V); choices (B, N)
  Tensor prediction_logits;        // (B, S, V)
  Tensor seq_relationship_logits;  // (B, 2)
  Tensor start_logits;             // (B, S)
  Tensor end_logits;               // (B, S)
  Tensor reconstruction;           // (B, channels, height, width)

  Tensor extract_features;            // (B, frames, conv_dim): normalised features of the convolutions
  Tensor projected_states;            // (B, frames, proj_codevector_dim)
  Tensor projected_quantized_states;  // (B, frames, proj_codevector_dim)
  Tensor codevector_perplexity;       // ()
  Tensor embeddings;                  // (B, xvector_output_dim)

  std::vector<CacheLayer> past_key_values;  // decoders: keys and values up to this call's last token
  std::vector<Tensor> hidden_states;        // layers + 1 of (B, S, H): the embeddings, then each layer's output
  std::vector<Tensor> attentions;  // layers of (B, heads, S, S): softmax weights; with a cache (B, heads, S, P + S)
  std::vector<Tensor> cross_attentions;  // layers of (B, heads, S, E)

  /// The defined fields and their names, tuples as "hidden_states.0", "past_key_values.0.keys".
  std::vector<std::pair<std::string, Tensor>> named() const;
};

}  // namespace caracal
