// A text that is cut by code points, which is what tokenizers' offsets count in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <caracal/tokenizers/unicode.h>

namespace caracal {

class CodePoints {
 public:
  /// Ill-formed UTF-8 is replaced, as tokenizers do.
  explicit CodePoints(std::string_view text) : text_(tokenizers::unicode::replace_invalid_utf8(text)) {
    for (const char* p = text_.data(); p != text_.data() + text_.size(); tokenizers::unicode::decode(p))
      begins_.push_back(size_t(p - text_.data()));
    begins_.push_back(text_.size());
  }
  /// Python's text[begin:end].
  std::string_view slice(size_t begin, size_t end) const {
    end = std::min(end, begins_.size() - 1);
    return begin < end ? std::string_view(text_).substr(begins_[begin], begins_[end] - begins_[begin]) : "";
  }

 private:
  std::string text_;
  std::vector<size_t> begins_;  // of each code point, in bytes; and the end
};

}  // namespace caracal
