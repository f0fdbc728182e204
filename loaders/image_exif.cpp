#include <string_view>

#include <caracal/loaders/image_formats.h>

namespace caracal::media {

std::optional<int> exif_orientation(std::span<const uint8_t> exif) noexcept {
  constexpr uint32_t kOrientation = 0x0112, kEntryBytes = 12;
  if (const std::string_view head(reinterpret_cast<const char*>(exif.data()), exif.size());
      head.starts_with(std::string_view("Exif\0\0", 6)))
    exif = exif.subspan(6);
  if (exif.size() < 8) return {};
  const bool little = exif[0] == 'I';
  if (!((little && exif[1] == 'I') || (exif[0] == 'M' && exif[1] == 'M'))) return {};
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
std::optional<int> xmp_orientation(std::span<const uint8_t> xmp) noexcept {
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
