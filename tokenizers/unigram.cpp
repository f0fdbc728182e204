#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/model.h>
#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {
namespace {

// How much worse than the worst piece an unknown character is.
constexpr double kUnknownPenalty = 10;

constexpr uint32_t kNowhere = UINT32_MAX;

constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23,
                              1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35};

}  // namespace

// The digits times or over a power of ten, which may be a unit in the last place from the nearest double. It decides
// between ways to cut a word that are as good as each other.
double Unigram::parsed_score(uint64_t significand, int exponent) noexcept {
  const double power = kPowers[std::abs(exponent)];
  return exponent >= 0 ? double(significand) * power : double(significand) / power;
}

Unigram::Score Unigram::score_of(double exact) {
  std::array<char, 32> text;
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), std::abs(exact), std::chars_format::scientific);
  if (error != std::errc() || !std::isfinite(exact)) return {exact, exact};
  uint64_t significand = 0;
  int exponent = 0, decimals = 0;
  const char* p = text.data();
  for (bool behind_point = false; p != end && *p != 'e'; ++p) {
    if (*p == '.') {
      behind_point = true;
      continue;
    }
    significand = significand * 10 + uint64_t(*p - '0');
    decimals += behind_point;
  }
  if (p != end) std::from_chars(p[1] == '+' ? p + 2 : p + 1, end, exponent);
  exponent -= decimals;
  if (size_t(std::abs(exponent)) >= std::size(kPowers)) return {exact, exact};
  const double parsed = parsed_score(significand, exponent);
  return {exact, exact < 0 ? -parsed : parsed};
}

Unigram::Unigram(const TokenList& tokens, const std::vector<Score>& scores, std::optional<size_t> unk_id,
                 bool byte_fallback, bool exact_scores)
    : Model(tokens), byte_fallback_(byte_fallback), whole_(tokens.size()) {
  const TextList& texts = tokens.texts;
  if (unk_id && *unk_id >= texts.size()) {
    throw Error(ErrorCode::bad_file, "tokenizer.json",
                "expected unk_id below " + std::to_string(texts.size()) + " but got " + std::to_string(*unk_id));
  }
  unk_id_ = unk_id ? int32_t(*unk_id) : -1;
  double worst = std::numeric_limits<double>::infinity();
  trie_.reserve(texts.all().size() * 3 / 8);
  scores_.reserve(texts.size());
  if (!exact_scores) exact_scores_.reserve(texts.size());
  for (const Score& score : scores) {
    scores_.push_back(exact_scores ? score.exact : score.parsed);
    if (!exact_scores) exact_scores_.push_back(score.exact);
    worst = std::min(worst, scores_.back());
  }
  trie_.insert_all(texts.size(), [&](size_t i) { return texts[i]; });
  unk_score_ = worst - kUnknownPenalty;
  for (size_t i = 0; i < texts.size() && vocabulary_.size() != texts.size(); ++i) {
    if (vocabulary_.token(int32_t(i)).data() == nullptr) repeated_[i] = texts[i];
  }
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    const std::string token = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
    byte_ids_[size_t(byte)] = vocabulary_.find(token);
  }
}

// Viterbi: steps[k] is the best way to cut the first k bytes; then `ends` are the ends of its tokens, last first.
void Unigram::best_path(std::string_view word, ModelScratch& scratch) const {
  std::vector<ModelScratch::Step>& steps = scratch.steps;
  steps.assign(word.size() + 1, {0, -1, kNowhere});
  const auto offer = [&](size_t end, double score, int32_t id, size_t begin) {
    ModelScratch::Step& step = steps[end];
    if (step.begin == kNowhere || score > step.score) step = {score, id, uint32_t(begin)};
  };
  for (size_t begin = 0; begin < word.size();) {
    const double here = steps[begin].score;
    const size_t single = begin + unicode::sequence_length(word[begin]);
    bool has_single = false;
    uint32_t node = Trie::kRoot;
    for (size_t end = begin; end < word.size();) {
      node = trie_.next(node, word[end++]);
      if (node == Trie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      offer(end, scores_[size_t(id)] + here, id, begin);
      has_single = has_single || end == single;
    }
    if (!has_single) {
      if (unk_id_ < 0) {
        throw Error(ErrorCode::invalid_argument, "Unigram", "expected an unk_id, as the text has unknown characters");
      }
      offer(single, unk_score_ + here, unk_id_, begin);
    }
    begin = single;
  }
  scratch.ends.clear();
  for (size_t end = word.size(); end > 0; end = steps[end].begin) scratch.ends.push_back(uint32_t(end));
}

void Unigram::tokenize(const NormalizedText& text, std::span<const Split> words, int32_t first_word,
                       ModelScratch& scratch, std::vector<Token>& out) const {
  int32_t number = first_word - 1;
  for (const Split& split : words) {
    ++number;
    const std::string_view word = std::string_view(text.text).substr(split.begin, split.end - split.begin);
    const auto emit = [&](int32_t id, size_t begin, size_t end, uint32_t surface) {
      out.push_back({.id = id,
                     .begin = text.origin[split.begin + begin],
                     .end = text.origin[split.begin + end - 1] + 1,
                     .word = number,
                     .sequence = 0,
                     .surface = surface});
    };
    const int32_t whole = vocabulary_.find(word);
    if (whole >= 0 && whole_.get(whole) == WholeWords::Answer::yes) {
      emit(whole, 0, word.size(), 0);
      continue;
    }
    const size_t before = out.size();
    best_path(word, scratch);
    for (size_t i = scratch.ends.size(); i-- > 0;) {
      const size_t begin = scratch.steps[scratch.ends[i]].begin;
      int32_t id = scratch.steps[scratch.ends[i]].id;
      if (id == unk_id_) {  // unknown ones in a row are one token, which may by chance be known
        while (i > 0 && scratch.steps[scratch.ends[i - 1]].id == unk_id_) --i;
        id = vocabulary_.find(word.substr(begin, scratch.ends[i] - begin));
      }
      const size_t end = scratch.ends[i];
      if (id >= 0) {
        emit(id, begin, end, 0);
        continue;
      }
      const std::string_view unknown = word.substr(begin, end - begin);
      const auto has_token = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)] >= 0; };
      if (byte_fallback_ && std::all_of(unknown.begin(), unknown.end(), has_token)) {
        for (const char c : unknown) emit(byte_ids_[static_cast<unsigned char>(c)], begin, end, 0);
      } else {
        emit(unk_id_, begin, end, scratch.surfaces.add(unknown));
      }
    }
    if (whole >= 0) whole_.set(whole, out.size() == before + 1 && out.back().id == whole && out.back().surface == 0);
  }
}

Json Unigram::to_json() const {
  Json::Array vocab;
  const std::vector<double>& written = exact_scores_.empty() ? scores_ : exact_scores_;
  for (size_t i = 0; i < written.size(); ++i) {
    const std::string_view token = vocabulary_.token(int32_t(i));
    vocab.push_back(Json::Array{token.data() != nullptr ? std::string(token) : repeated_.at(i), written[i]});
  }
  return {{"type", "Unigram"},
          {"unk_id", unk_id_ >= 0 ? Json(int64_t(unk_id_)) : Json()},
          {"vocab", std::move(vocab)},
          {"byte_fallback", byte_fallback_}};
}

}  // namespace caracal::tokenizers
