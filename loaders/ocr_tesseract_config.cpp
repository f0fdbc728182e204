#include <caracal/loaders/ocr_tesseract_config.h>

#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include <tesseract/publictypes.h>

#include <caracal/runtime/error.h>

namespace caracal {
namespace {

[[noreturn]] void bad_config(const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, "TesseractEngine: config", "expected " + expected + " but got " + got);
}

// shlex.split: words apart by white space; quotes and backslashes keep it.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (quote == 0 && space) {
      if (inside) words.push_back(std::exchange(word, {}));
      inside = false;
      continue;
    }
    inside = true;
    if (quote == 0 && (c == '\'' || c == '"'))
      quote = c;
    else if (quote != 0 && c == quote)
      quote = 0;
    else if (c == '\\' && quote != '\'' && i + 1 < text.size())
      word += text[++i];
    else
      word += c;
  }
  if (quote != 0) bad_config("closed quotes", std::string(text));
  if (inside) words.push_back(word);
  return words;
}

int number(const std::string& text, const std::string& name, int last) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > last)
    bad_config(name + " with a number from 0 to " + std::to_string(last), "'" + text + "'");
  return value;
}

// The arguments may come from a checkpoint's preprocessor_config.json: they may not name files to write or read, which
// is what variables of Tesseract with such words in their names do, nor open windows.
void check_variable(const std::string& name) {
  for (const char* part : {"file", "write", "dump", "train", "display"})
    if (name.find(part) != std::string::npos)
      bad_config("a variable of Tesseract that names no file and opens no window", "'" + name + "'");
}

}  // namespace

TesseractSetup parse_tesseract_setup(const TesseractOptions& options, const OcrOptions& call) {
  TesseractSetup setup{
      .data_dir = options.data_dir, .lang = call.lang.empty() ? "eng" : call.lang, .names = {}, .values = {}};
  const std::vector<std::string> words = split_words(call.config);
  for (size_t i = 0; i < words.size(); i++) {
    const std::string& name = words[i];
    const bool known = name == "--psm" || name == "--oem" || name == "--dpi" || name == "-c" || name == "-l" ||
                       name == "--tessdata-dir";
    if (!known) bad_config("--psm, --oem, --dpi, -c, -l or --tessdata-dir", "'" + name + "'");
    if (++i == words.size()) bad_config("a value after " + name, "none");
    const std::string& value = words[i];
    if (name == "--psm") {
      setup.page_segmentation = number(value, name, tesseract::PSM_COUNT - 1);
    } else if (name == "--oem") {
      setup.oem = number(value, name, tesseract::OEM_COUNT - 1);
    } else if (name == "-l") {
      setup.lang = value;
    } else if (name == "--tessdata-dir") {
      setup.data_dir = value;
    } else {
      const std::string assignment = name == "--dpi" ? "user_defined_dpi=" + value : value;
      const size_t equal = assignment.find('=');
      if (equal == std::string::npos) bad_config("-c KEY=VALUE", "'" + value + "'");
      check_variable(assignment.substr(0, equal));
      setup.names.push_back(assignment.substr(0, equal));
      setup.values.push_back(assignment.substr(equal + 1));
    }
  }
  // A language is a file name to Tesseract.
  if (setup.lang.find("..") != std::string::npos || setup.lang.starts_with("/"))
    throw Error(ErrorCode::invalid_argument, "TesseractEngine: lang",
                "expected names of languages such as eng+deu but got '" + setup.lang + "'");
  return setup;
}

}  // namespace caracal
