// FLAC by libFLAC.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include <FLAC/stream_decoder.h>

#include <caracal/loaders/audio_formats.h>

namespace caracal::media {
namespace {

struct Decoder {
  const AudioInput* input = nullptr;
  size_t at = 0;
  int64_t channels = 0, rate = 0, bits = 0;
  std::vector<std::vector<float>> samples;  // by channel
  bool mixed_formats = false, damaged = false;
  std::exception_ptr failure;
};

Decoder& self(void* data) { return *static_cast<Decoder*>(data); }

FLAC__StreamDecoderReadStatus read(const FLAC__StreamDecoder*, FLAC__byte buffer[], size_t* bytes, void* data) {
  Decoder& d = self(data);
  *bytes = std::min(*bytes, d.input->bytes.size() - d.at);
  if (*bytes == 0) return FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
  std::memcpy(buffer, d.input->bytes.data() + d.at, *bytes);
  d.at += *bytes;
  return FLAC__STREAM_DECODER_READ_STATUS_CONTINUE;
}

// No exception may pass through libFLAC: it is kept and thrown later.
FLAC__StreamDecoderWriteStatus write(const FLAC__StreamDecoder*, const FLAC__Frame* frame,
                                     const FLAC__int32* const buffer[], void* data) try {
  Decoder& d = self(data);
  const FLAC__FrameHeader& header = frame->header;
  if (d.samples.empty()) {
    d.channels = header.channels, d.rate = header.sample_rate, d.bits = header.bits_per_sample;
    d.samples.resize(header.channels);
  }
  d.mixed_formats = header.channels != d.channels || header.sample_rate != d.rate || header.bits_per_sample != d.bits;
  if (d.mixed_formats) return FLAC__STREAM_DECODER_WRITE_STATUS_ABORT;
  check_audio(*d.input, d.channels, d.rate, int64_t(d.samples[0].size() + header.blocksize));
  const float scale = std::ldexp(1.0f, -int(header.bits_per_sample - 1));
  for (uint32_t c = 0; c < header.channels; c++) {
    for (uint32_t i = 0; i < header.blocksize; i++) d.samples[c].push_back(float(buffer[c][i]) * scale);
  }
  return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
} catch (...) {
  self(data).failure = std::current_exception();
  return FLAC__STREAM_DECODER_WRITE_STATUS_ABORT;
}

void metadata(const FLAC__StreamDecoder*, const FLAC__StreamMetadata* block, void* data) try {
  if (block->type != FLAC__METADATA_TYPE_STREAMINFO) return;
  const FLAC__StreamMetadata_StreamInfo& info = block->data.stream_info;
  // Without a rate the frames say it.
  check_audio(*self(data).input, info.channels, std::max(info.sample_rate, 1u), int64_t(info.total_samples));
} catch (...) {
  self(data).failure = std::current_exception();
}

void error(const FLAC__StreamDecoder*, FLAC__StreamDecoderErrorStatus, void* data) { self(data).damaged = true; }

}  // namespace

Audio decode_flac(const AudioInput& input) {
  Decoder d;
  d.input = &input;
  const std::unique_ptr<FLAC__StreamDecoder, void (*)(FLAC__StreamDecoder*)> flac(FLAC__stream_decoder_new(),
                                                                                  FLAC__stream_decoder_delete);
  if (flac == nullptr) throw std::bad_alloc();
  if (FLAC__stream_decoder_init_stream(flac.get(), read, nullptr, nullptr, nullptr, nullptr, write, metadata, error,
                                       &d) != FLAC__STREAM_DECODER_INIT_STATUS_OK)
    throw Error(ErrorCode::internal, input.where, "libFLAC did not start");
  bool ok = FLAC__stream_decoder_process_until_end_of_metadata(flac.get()) && d.failure == nullptr;
  const int64_t promised = ok ? int64_t(FLAC__stream_decoder_get_total_samples(flac.get())) : 0;
  ok = ok && FLAC__stream_decoder_process_until_end_of_stream(flac.get());
  if (d.failure != nullptr) std::rethrow_exception(d.failure);
  if (d.mixed_formats) bad_audio(input, "FLAC frames of different formats");
  const int64_t frames = d.samples.empty() ? 0 : int64_t(d.samples[0].size());
  if (!ok || d.damaged || d.samples.empty() || (promised != 0 && frames != promised))
    bad_audio(input, "damaged or truncated FLAC data");
  check_audio(input, d.channels, d.rate, frames);
  Audio audio{.samples = Tensor::empty({d.channels, frames}), .sampling_rate = d.rate};
  for (int64_t c = 0; c < d.channels; c++) {
    const std::vector<float> channel = std::move(d.samples[size_t(c)]);  // gone before the next is copied
    std::ranges::copy(channel, audio.samples.data<float>() + c * frames);
  }
  return audio;
}

}  // namespace caracal::media
