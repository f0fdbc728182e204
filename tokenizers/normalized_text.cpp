#include <caracal/tokenizers/normalized_text.h>

#include <algorithm>
#include <cstring>

#include <caracal/tokenizers/unicode.h>

namespace caracal::tokenizers {

void NormalizedText::assign(std::string_view source, uint32_t first) {
  text.assign(source);
  origin.resize(source.size());
  uint32_t next = first;
  for (size_t i = 0; i < source.size(); ++i) {
    next += (static_cast<unsigned char>(source[i]) & 0xC0) != 0x80;
    origin[i] = next - 1;
  }
  splits.clear();
}

void sort_marks(std::vector<Mark>& marks) {
  for (size_t i = 0; i < marks.size(); ++i) marks[i].order = uint32_t(i);
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
    return a.combining_class != b.combining_class ? a.combining_class < b.combining_class : a.order < b.order;
  });
}

void Rewriter::put(char32_t cp, uint32_t from) {
  make_room(4);
  const size_t bytes = unicode::encode(cp, text_.text.data() + size_);
  std::fill_n(text_.origin.data() + size_, bytes, from);
  size_ += bytes;
}

void Rewriter::put(std::string_view bytes, uint32_t from) {
  make_room(bytes.size());
  std::copy(bytes.begin(), bytes.end(), text_.text.data() + size_);
  std::fill_n(text_.origin.data() + size_, bytes.size(), from);
  size_ += bytes.size();
}

void Rewriter::copy(size_t begin, size_t end) {
  if (begin == end) return;
  make_room(end - begin);
  std::memcpy(text_.text.data() + size_, text_.old_text.data() + begin, end - begin);
  std::memcpy(text_.origin.data() + size_, text_.old_origin.data() + begin, (end - begin) * sizeof(uint32_t));
  size_ += end - begin;
}

void Rewriter::transform(char32_t cp, int change) {
  const size_t size = text_.old_text.size();
  if (size == 0) return;
  const size_t at = change > 0 ? (read_ == 0 ? 0 : read_ - 1) : read_;
  put(cp, text_.old_origin[std::min(at, size - 1)]);
  for (int i = 0; i >= change && read_ < size; --i) read_ += unicode::sequence_length(text_.old_text[read_]);
}

}  // namespace caracal::tokenizers
