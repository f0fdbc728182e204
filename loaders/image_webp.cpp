// WebP by libwebp.
#include <cstring>
#include <memory>

#include <webp/decode.h>
#include <webp/demux.h>

#include <caracal/loaders/image_formats.h>

namespace caracal::media {
namespace {

std::optional<int> chunk_orientation(const Input& input, const WebPDemuxer* demuxer, const char* name,
                                     std::optional<int> (*parse)(const Input&, std::span<const uint8_t>)) {
  WebPChunkIterator chunk;
  if (!WebPDemuxGetChunk(demuxer, name, 1, &chunk)) return {};
  const std::span<const uint8_t> bytes(chunk.chunk.bytes, chunk.chunk.size);  // of the file itself
  WebPDemuxReleaseChunkIterator(&chunk);
  return parse(input, bytes);
}

}  // namespace

Image decode_webp(const Input& input) {
  const WebPData data{input.bytes.data(), input.bytes.size()};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (demuxer == nullptr) bad_image(input, "damaged or truncated WebP data");
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  check_size(input, width, height);
  // As Pillow: the canvas after the first frame.
  WebPIterator frame;
  if (!WebPDemuxGetFrame(demuxer.get(), 1, &frame)) bad_image(input, "WebP data without a frame");
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> release(&frame, WebPDemuxReleaseIterator);
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &features) != VP8_STATUS_OK ||
      features.width != frame.width || features.height != frame.height || frame.x_offset < 0 || frame.y_offset < 0 ||
      frame.x_offset + int64_t(frame.width) > width || frame.y_offset + int64_t(frame.height) > height)
    bad_image(input, "a damaged WebP frame");
  const bool alpha = (WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG) != 0;
  const bool whole = frame.width == width && frame.height == height;
  const int64_t channels = alpha ? 4 : 3, stride = width * channels;  // sides are below 2^24
  const Shape shape{height, width, channels};
  Tensor pixels = whole ? Tensor::empty(shape, DType::U8) : Tensor::zeros(shape, DType::U8);
  uint8_t* out = pixels.data<uint8_t>() + frame.y_offset * stride + frame.x_offset * channels;
  const size_t room = size_t((frame.height - 1) * stride + frame.width * channels);
  const auto* done = alpha ? WebPDecodeRGBAInto(frame.fragment.bytes, frame.fragment.size, out, room, int(stride))
                           : WebPDecodeRGBInto(frame.fragment.bytes, frame.fragment.size, out, room, int(stride));
  if (done == nullptr) bad_image(input, "damaged or truncated WebP data");
  auto orientation = chunk_orientation(input, demuxer.get(), "EXIF", exif_orientation);
  if (!orientation) orientation = chunk_orientation(input, demuxer.get(), "XMP ", xmp_orientation);
  return {.pixels = pixels, .mode = alpha ? "RGBA" : "RGB", .format = "WEBP", .orientation = orientation.value_or(1)};
}

}  // namespace caracal::media
