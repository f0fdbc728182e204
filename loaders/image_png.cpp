// PNG by libpng, without gamma or colour management, which is what Pillow does.
#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <png.h>

#include <caracal/loaders/image_formats.h>
#include <caracal/runtime/checked.h>

namespace caracal::media {
namespace {

constexpr png_uint_32 kMaxSide = 0x7fffffff;
constexpr png_alloc_size_t kMaxChunkBytes = 8 << 20;
constexpr size_t kMaxTextBytes = 64 << 20;

// libpng reports errors by a function that must not return; ours jumps back. Functions that call setjmp hold nothing
// that needs a destructor.
struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const uint8_t> rest;
  size_t budget = 0;  // bytes that may still be allocated
  std::jmp_buf jump;
  char message[256] = "no memory";
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

bool read_header(Decoder& d) {
  if (setjmp(d.jump)) return false;
  d.png = png_create_read_struct_2(
      PNG_LIBPNG_VER_STRING, &d,
      [](png_structp png, png_const_charp message) {
        Decoder& self = *static_cast<Decoder*>(png_get_error_ptr(png));
        std::snprintf(self.message, sizeof self.message, "%s", message);
        std::longjmp(self.jump, 1);
      },
      [](png_structp, png_const_charp) {}, &d,
      [](png_structp png, png_alloc_size_t bytes) {
        size_t& budget = static_cast<Decoder*>(png_get_mem_ptr(png))->budget;
        if (bytes > budget) png_error(png, "chunks that take more memory than the file explains");
        budget -= bytes;
        return std::malloc(bytes);
      },
      [](png_structp, png_voidp bytes) { std::free(bytes); });
  if (d.png == nullptr) return false;
  d.info = png_create_info_struct(d.png);
  if (d.info == nullptr) return false;
  png_set_user_limits(d.png, kMaxSide, kMaxSide);  // check_size says more
  png_set_chunk_malloc_max(d.png, kMaxChunkBytes);
  png_set_crc_action(d.png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_read_fn(d.png, &d, [](png_structp png, png_bytep out, size_t count) {
    Decoder& self = *static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self.rest.size()) png_error(png, "the end of the data before the end of the image");
    std::memcpy(out, self.rest.data(), count);
    self.rest = self.rest.subspan(count);
  });
  png_read_info(d.png, d.info);
  return true;
}

bool choose_output(Decoder& d, int& channels) {
  if (setjmp(d.jump)) return false;
  const int depth = png_get_bit_depth(d.png, d.info), type = png_get_color_type(d.png, d.info);
  if (type == PNG_COLOR_TYPE_PALETTE) {
    png_set_palette_to_rgb(d.png);
    if (png_get_valid(d.png, d.info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(d.png);
  } else if (type == PNG_COLOR_TYPE_GRAY && depth < 8) {
    png_set_expand_gray_1_2_4_to_8(d.png);
  } else if (depth == 16 && type != PNG_COLOR_TYPE_GRAY) {
    png_set_strip_16(d.png);
  }
  png_set_interlace_handling(d.png);
  png_read_update_info(d.png, d.info);
  channels = png_get_channels(d.png, d.info);
  return true;
}

bool read_pixels(Decoder& d, png_bytepp rows) {
  if (setjmp(d.jump)) return false;
  png_read_image(d.png, rows);
  return true;
}

// Chunks after the pixels (EXIF may be there). As with Pillow, the last chunk may be missing or damaged.
bool read_end(Decoder& d) {
  constexpr size_t kCrcAndLastChunk = 4 + 12;
  const bool only_last = d.rest.size() <= kCrcAndLastChunk;
  if (setjmp(d.jump)) return only_last;
  png_read_end(d.png, d.info);
  return true;
}

int orientation_of(const Input& input, const Decoder& d) {
  png_bytep exif = nullptr;
  png_uint_32 bytes = 0;
  if (png_get_eXIf_1(d.png, d.info, &bytes, &exif) != 0 && exif != nullptr) {
    if (const auto orientation = exif_orientation(input, {exif, bytes})) return *orientation;
  }
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(d.png, d.info, &texts, &count);
  for (int i = 0; i < count; i++) {
    if (std::strcmp(texts[i].key, "XML:com.adobe.xmp") != 0 || texts[i].text == nullptr) continue;
    const auto* text = reinterpret_cast<const uint8_t*>(texts[i].text);
    if (const auto orientation = xmp_orientation(input, {text, std::strlen(texts[i].text)})) return *orientation;
  }
  return 1;
}

// Pillow keeps 16 bits of grey and clips them to a byte when it converts.
Tensor clipped(const Tensor& wide) {
  Tensor result = Tensor::empty({wide.size(0), wide.size(1), 1}, DType::U8);
  const uint8_t* in = wide.data<uint8_t>();
  uint8_t* out = result.data<uint8_t>();
  for (int64_t i = 0; i < result.numel(); i++) out[i] = in[2 * i] != 0 ? uint8_t(255) : in[2 * i + 1];
  return result;
}

}  // namespace

Image decode_png(const Input& input) {
  Decoder d;
  d.rest = input.bytes;
  // libpng allocates what a chunk claims to hold, and keeps the texts that chunks inflate to, of which Pillow takes 64
  // MB. What a whole chunk holds is allocated twice at most.
  d.budget = checked_add(kMaxTextBytes, checked_mul(size_t(4), input.bytes.size(), input.where), input.where);
  if (!read_header(d)) bad_image(input, d.message);
  const int64_t width = png_get_image_width(d.png, d.info), height = png_get_image_height(d.png, d.info);
  check_size(input, width, height);
  const size_t budget = std::exchange(d.budget, SIZE_MAX);  // rows: bounded by check_size
  int channels = 0;
  if (!choose_output(d, channels)) bad_image(input, d.message);
  const bool wide = png_get_bit_depth(d.png, d.info) == 16;
  const int64_t row_bytes = width * channels * (wide ? 2 : 1);  // of 2^31 pixels at most: below 2^34
  if (row_bytes != int64_t(png_get_rowbytes(d.png, d.info))) bad_image(input, "rows of an odd size");
  Tensor pixels = Tensor::empty({height, width, wide ? 2 * channels : channels}, DType::U8);
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (int64_t y = 0; y < height; y++) rows[size_t(y)] = pixels.data<uint8_t>() + y * row_bytes;
  if (!read_pixels(d, rows.data())) bad_image(input, d.message);
  d.budget = budget;
  if (!read_end(d)) bad_image(input, d.message);
  static constexpr const char* modes[] = {"L", "LA", "RGB", "RGBA"};
  return {.pixels = wide ? clipped(pixels) : pixels,
          .mode = modes[channels - 1],
          .format = "PNG",
          .orientation = orientation_of(input, d)};
}

}  // namespace caracal::media
