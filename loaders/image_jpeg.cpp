// JPEG by libjpeg-turbo, with its defaults (integer DCT, smooth upsampling), which are Pillow's. It reads all headers;
// of the common files image_jpeg_baseline.cpp decodes the pixels, faster.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <string_view>
#include <vector>

#include <jpeglib.h>

#include <caracal/loaders/image_formats.h>
#include <caracal/loaders/image_jpeg_baseline.h>

namespace caracal::media {
namespace {

constexpr int kMaxScans = 500;  // of a progressive file: each costs a pass over the image

// libjpeg reports errors by a function that must not return; ours jumps back here. Functions that call setjmp hold
// nothing that needs a destructor.
struct Decoder {
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  jpeg_decompress_struct info;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

Decoder& decoder_of(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

[[noreturn]] void give_up(j_common_ptr info, const char* message) {
  Decoder& d = decoder_of(info);
  std::snprintf(d.message, sizeof d.message, "%s", message);
  std::longjmp(d.jump, 1);
}

void prepare(Decoder& d, std::span<const uint8_t> bytes) {
  d.info.err = jpeg_std_error(&d.errors);
  d.info.client_data = &d;
  d.errors.error_exit = [](j_common_ptr info) {
    char message[JMSG_LENGTH_MAX];
    info->err->format_message(info, message);
    give_up(info, message);
  };
  d.errors.output_message = [](j_common_ptr) {};
  d.errors.emit_message = [](j_common_ptr info, int level) { info->err->num_warnings += level < 0; };
  d.source.next_input_byte = bytes.data();
  d.source.bytes_in_buffer = bytes.size();
  d.source.init_source = [](j_decompress_ptr) {};
  d.source.term_source = [](j_decompress_ptr) {};
  d.source.resync_to_restart = jpeg_resync_to_restart;
  d.source.fill_input_buffer = [](j_decompress_ptr info) -> boolean {
    give_up(reinterpret_cast<j_common_ptr>(info), "the end of the data before the end of the image");
  };
  d.source.skip_input_data = [](j_decompress_ptr info, long count) {
    if (count <= 0) return;
    if (size_t(count) > info->src->bytes_in_buffer)
      give_up(reinterpret_cast<j_common_ptr>(info), "the end of the data within a header");
    info->src->next_input_byte += count;
    info->src->bytes_in_buffer -= size_t(count);
  };
  d.progress.progress_monitor = [](j_common_ptr info) {
    if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans)
      give_up(info, "more scans than any encoder writes");
  };
}

bool read_header(Decoder& d) {
  if (setjmp(d.jump)) return false;
  jpeg_create_decompress(&d.info);
  d.info.client_data = &d;
  d.info.src = &d.source;
  d.info.progress = &d.progress;
  jpeg_save_markers(&d.info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&d.info, TRUE);
  return true;
}

bool read_pixels(Decoder& d, uint8_t* out, size_t row_bytes) {
  if (setjmp(d.jump)) return false;
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = out + d.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&d.info, &row, 1);
  }
  jpeg_finish_decompress(&d.info);  // to the end marker, without which Pillow calls a file truncated
  return true;
}

int orientation_of(const Input& input, const jpeg_decompress_struct& info) {
  constexpr std::string_view exif_head("Exif\0\0", 6), xmp_head("http://ns.adobe.com/xap/1.0/\0", 29);
  std::vector<uint8_t> exif;  // a block too long for one segment goes on in the next
  std::optional<int> xmp;
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::span<const uint8_t> data(marker->data, marker->data_length);
    const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
    if (text.starts_with(exif_head)) exif.insert(exif.end(), data.begin() + (exif.empty() ? 0 : 6), data.end());
    if (text.starts_with(xmp_head)) xmp = xmp_orientation(input, data.subspan(xmp_head.size()));
  }
  return exif_orientation(input, exif).value_or(xmp.value_or(1));
}

}  // namespace

Image decode_jpeg(const Input& input) {
  struct Owner {
    Decoder decoder{};
    ~Owner() { jpeg_destroy_decompress(&decoder.info); }
  } owner;
  Decoder& d = owner.decoder;
  prepare(d, input.bytes);
  if (!read_header(d)) bad_image(input, d.message);
  check_size(input, d.info.image_width, d.info.image_height);
  const int components = d.info.num_components;
  if (components != 1 && components != 3 && components != 4)
    bad_image(input, std::to_string(components) + " colour components");
  d.info.out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  Image image{.pixels = Tensor::empty({d.info.image_height, d.info.image_width, components}, DType::U8),
              .mode = components == 1   ? "L"
                      : components == 3 ? "RGB"
                                        : "CMYK",
              .format = "JPEG",
              .orientation = orientation_of(input, d.info)};
  const std::span<const uint8_t> scan(d.info.src->next_input_byte, d.info.src->bytes_in_buffer);
  if (decode_baseline_jpeg(d.info, scan, image.pixels.data<uint8_t>())) return image;
  if (!read_pixels(d, image.pixels.data<uint8_t>(), size_t(d.info.image_width) * size_t(components)))
    bad_image(input, d.message);
  if (components == 4) {  // Adobe stores inks inverted, and Pillow takes every file for Adobe's
    uint8_t* data = image.pixels.data<uint8_t>();
    for (size_t i = 0; i < image.pixels.nbytes(); i++) data[i] = uint8_t(255 - data[i]);
  }
  return image;
}

}  // namespace caracal::media
