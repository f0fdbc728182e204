#include <caracal/tokenizers/text_list.h>

#include <algorithm>
#include <bit>
#include <string>

#include <caracal/runtime/error.h>
#include <caracal/tokenizers/short_text.h>

namespace caracal::tokenizers {

void TextList::grow(size_t used, size_t capacity) {
  if (capacity > UINT32_MAX) throw Error(ErrorCode::bad_file, "tokenizer.json", "expected less than 4 GiB of tokens");
  capacity_ = std::max(capacity, capacity_ * 2);
  auto larger = std::make_unique_for_overwrite<char[]>(capacity_);
  std::copy_n(bytes_.get(), used, larger.get());
  bytes_ = std::move(larger);
}

void TextList::reserve(size_t strings, size_t bytes) {
  begins_.reserve(strings + 1);
  if (bytes > 0) open(0, bytes);
}

void TextList::push_back(std::string_view text) {
  copy_bytes(open(0, text.size()), text.data(), text.size());
  close(text.size());
}

void MergeList::add(std::string_view left, std::string_view right) {
  char* const to = texts.open(0, left.size() + 1 + right.size());
  copy_bytes(to, left.data(), left.size());
  to[left.size()] = ' ';
  copy_bytes(to + left.size() + 1, right.data(), right.size());
  texts.close(left.size() + 1 + right.size());
  middles.push_back(uint32_t(left.size()));
}

void MergeList::split_last(std::string_view where) {
  constexpr uint64_t kLows = 0x7F7F7F7F7F7F7F7Fu;
  const std::string_view text = texts[texts.size() - 1];
  size_t middle = 0, spaces = 0;
  for (size_t i = 0; i < text.size(); i += 8) {
    const uint64_t others = load_bytes<uint64_t>(text.data() + i) ^ 0x2020202020202020u;  // what is no space
    uint64_t found = ~(((others & kLows) + kLows) | others | kLows);  // the high bits of the bytes that are zero
    if (text.size() - i < 8) found &= (uint64_t(1) << (text.size() - i) * 8) - 1;
    if (found != 0) middle = i + size_t(std::countr_zero(found)) / 8;
    spaces += size_t(std::popcount(found));
  }
  if (spaces != 1) {
    throw Error(
        ErrorCode::bad_file, where,
        "expected a merge of two tokens with a space between but got '" + std::string(text.substr(0, 100)) + "'");
  }
  middles.push_back(uint32_t(middle));
}

}  // namespace caracal::tokenizers
