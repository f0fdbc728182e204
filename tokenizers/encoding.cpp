#include <caracal/tokenizers/encoding.h>

#include <algorithm>
#include <string>

#include <caracal/runtime/error.h>

namespace caracal::tokenizers {

void Encoding::truncate(size_t max_length, size_t stride, Side side, bool keep) {
  const size_t length = tokens.size();
  if (max_length >= length) return;
  if (max_length == 0 && keep) {
    overflow.insert(overflow.begin(), Encoding{std::move(tokens), {}});
    tokens.clear();
    return;
  }
  if (stride >= max_length && max_length != 0) {
    throw Error(ErrorCode::invalid_argument, "tokenizer",
                "expected stride below the length left for the text (" + std::to_string(max_length) + ") but got " +
                    std::to_string(stride));
  }
  if (!keep) {
    const auto cut = std::ptrdiff_t(length - max_length);
    side == Side::right ? tokens.erase(tokens.end() - cut, tokens.end())
                        : tokens.erase(tokens.begin(), tokens.begin() + cut);
    return;
  }
  const size_t step = max_length - stride;
  std::vector<Encoding> parts;
  const auto part = [&](size_t begin, size_t end) {
    parts.push_back({{tokens.begin() + std::ptrdiff_t(begin), tokens.begin() + std::ptrdiff_t(end)}, {}});
  };
  if (side == Side::right) {
    for (size_t begin = 0;; begin += step) {
      const size_t end = std::min(begin + max_length, length);
      part(begin, end);
      if (end == length) break;
    }
  } else {
    for (size_t end = length;; end -= step) {
      const size_t begin = end - std::min(end, max_length);
      part(begin, end);
      if (begin == 0) break;
    }
  }
  tokens = std::move(parts.front().tokens);
  overflow.assign(std::make_move_iterator(parts.begin() + 1), std::make_move_iterator(parts.end()));
}

void Encoding::append(const Token& token) {
  tokens.push_back(token);
  for (Encoding& part : overflow) part.tokens.push_back(token);
}

void Encoding::append(const Encoding& other) {
  std::vector<Encoding> combined;
  const auto combine = [&combined](const std::vector<Token>& a, const std::vector<Token>& b) {
    combined.push_back({a, {}});
    combined.back().tokens.insert(combined.back().tokens.end(), b.begin(), b.end());
  };
  for (const Encoding& mine : overflow) {
    combine(mine.tokens, other.tokens);
    for (const Encoding& theirs : other.overflow) combine(mine.tokens, theirs.tokens);
  }
  for (const Encoding& theirs : other.overflow) combine(tokens, theirs.tokens);
  tokens.insert(tokens.end(), other.tokens.begin(), other.tokens.end());
  overflow = std::move(combined);
}

namespace {

// Lengths for longest_first: the shorter text keeps all it can, the longer gets the rest.
std::pair<size_t, size_t> longest_first_lengths(size_t first, size_t second, size_t max_length) {
  const bool swap = first > second;
  size_t shorter = std::min(first, second);
  size_t longer = shorter > max_length ? shorter : std::max(shorter, max_length - shorter);
  if (shorter + longer > max_length) {
    shorter = max_length / 2;
    longer = shorter + max_length % 2;
  }
  return swap ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

}  // namespace

void truncate(Encoding& first, Encoding* second, size_t max_length, size_t stride, TruncationStrategy strategy,
              Side side, bool keep) {
  if (strategy == TruncationStrategy::do_not_truncate) return;
  if (max_length == 0) {
    first.truncate(0, stride, side, keep);
    if (second != nullptr) second->truncate(0, stride, side, keep);
    return;
  }
  const size_t total = first.size() + (second != nullptr ? second->size() : 0);
  if (total <= max_length) return;
  const size_t to_remove = total - max_length;
  if (strategy == TruncationStrategy::longest_first) {
    if (second == nullptr) {
      first.truncate(max_length, stride, side, keep);
      return;
    }
    const auto [n1, n2] = longest_first_lengths(first.size(), second->size(), max_length);
    first.truncate(n1, stride, side, keep);
    second->truncate(n2, stride, side, keep);
    return;
  }
  Encoding* target = strategy == TruncationStrategy::only_first ? &first : second;
  if (target == nullptr) {
    throw Error(ErrorCode::invalid_argument, "tokenizer", "Truncation error: Second sequence not provided");
  }
  if (target->size() <= to_remove) {
    throw Error(ErrorCode::invalid_argument, "tokenizer",
                "Truncation error: Sequence to truncate too short to respect the provided max_length");
  }
  target->truncate(target->size() - to_remove, stride, side, keep);
}

void pad(Encoding& encoding, size_t length, const PaddingToken& token) {
  for (Encoding& part : encoding.overflow) pad(part, length, token);
  if (encoding.size() >= length) return;
  const Token padding{.id = token.id, .type_id = token.type_id, .attention = false, .special = true};
  const auto at = token.side == Side::right ? encoding.tokens.end() : encoding.tokens.begin();
  encoding.tokens.insert(at, length - encoding.size(), padding);
}

}  // namespace caracal::tokenizers
