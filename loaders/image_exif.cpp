#include <algorithm>
#include <string_view>

#include <caracal/loaders/image_formats.h>

namespace caracal::media {

using namespace std::string_view_literals;

std::optional<int> exif_orientation(const Input& input, std::span<const uint8_t> exif) {
  constexpr uint32_t kOrientation = 0x0112, kEntryBytes = 12;
  std::string_view head(reinterpret_cast<const char*>(exif.data()), exif.size());
  for (int i = 0; i < 2 && head.starts_with("Exif\0\0"sv); i++) exif = exif.subspan(6), head.remove_prefix(6);
  if (head.empty()) return {};
  static constexpr std::string_view heads[] = {"MM\0*"sv, "II*\0"sv, "MM*\0"sv, "II\0*"sv, "MM\0+"sv, "II+\0"sv};
  if (std::ranges::find(heads, head.substr(0, 4)) == std::end(heads)) bad_image(input, "damaged EXIF data");
  const bool little = head[0] == 'I';
  if (exif.size() < 8) return {};
  auto number = [&](size_t at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | exif[at + size_t(little ? bytes - 1 - i : i)];
    return value;
  };
  if (number(2, 2) != 42) return {};
  const size_t directory = number(4, 4);
  if (directory > exif.size() - 2) return {};
  const uint32_t count = number(directory, 2);
  for (uint32_t i = 0; i < count; i++) {
    const size_t entry = directory + 2 + size_t(i) * kEntryBytes;
    if (entry + kEntryBytes > exif.size()) return {};
    if (number(entry, 2) != kOrientation) continue;
    const uint32_t type = number(entry + 2, 2);  // 3: SHORT, 4: LONG
    return int(number(entry + 8, type == 3 ? 2 : type == 4 ? 4 : 1));
  }
  return {};
}

// The first of tiff:Orientation="N" and tiff:Orientation>N, one digit.
std::optional<int> xmp_orientation(const Input&, std::span<const uint8_t> xmp) {
  constexpr std::string_view key = "tiff:Orientation";
  const std::string_view text(reinterpret_cast<const char*>(xmp.data()), xmp.size());
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    std::string_view rest = text.substr(at + key.size());
    if (rest.starts_with("=\""))
      rest.remove_prefix(2);
    else if (rest.starts_with(">"))
      rest.remove_prefix(1);
    else
      continue;
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return {};
}

}  // namespace caracal::media
