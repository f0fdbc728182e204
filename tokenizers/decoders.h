// Decoders: the last stage of a tokenizer.json, turning tokens back into text.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/runtime/json.h>

namespace caracal::tokenizers {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Rewrites the tokens; their concatenation is the text.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
  /// The text of `tokens`. Those for which skip holds are left out, before decode() unless a decoder needs them.
  virtual std::string text(std::vector<std::string> tokens, const std::function<bool(std::string_view)>& skip) const;
  virtual Json to_json() const = 0;
};

/// Builds the component from the "decoder" of a tokenizer.json; null for null. Throws unsupported naming a type that is
/// not built in.
std::shared_ptr<const Decoder> decoder_from_json(const Json& json);

/// Joins "##" tokens to the one before and puts spaces between the others; `cleanup` takes out the space before
/// punctuation and English contractions.
class WordPieceDecoder final : public Decoder {
 public:
  explicit WordPieceDecoder(std::string prefix = "##", bool cleanup = true)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void decode(std::vector<std::string>& tokens) const override;
  Json to_json() const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

/// The decoder of byte-level BPE: GPT-2's alphabet back to bytes.
std::shared_ptr<const Decoder> byte_level_decoder();

/// `text` without white space at its ends.
std::string strip_white_space(std::string_view text);
/// `text` with every `from` replaced by `to`, left to right.
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace caracal::tokenizers
