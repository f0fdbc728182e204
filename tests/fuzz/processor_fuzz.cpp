// Any JSON as preprocessor_config.json of each processor, which then processes a small image or sound: an Error or
// features, never more.
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/vit/image_processing_vit.h>
#include <caracal/models/wav2vec2/feature_extraction_wav2vec2.h>

namespace {

template <class F>
void try_to(F call) {
  try {
    call();
  } catch (const caracal::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  Json json;
  try {
    json = Json::parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const Error&) {
    return 0;
  }
  static const Tensor image = Tensor::zeros({3, 5, 3}, DType::U8), floats = Tensor::zeros({5, 4, 3}),
                      sound = Tensor::zeros({50});
  // Sizes that are allowed but slow to compute with would only tell how large they are.
  for (const char* key : {"size", "crop_size", "pad_size"}) {
    const Json* value = json.find(key);
    if (value == nullptr) continue;
    const std::string text = value->dump();
    int digits = 0;
    for (char c : text) {
      digits = c >= '0' && c <= '9' ? digits + 1 : 0;
      if (digits == 4) return 0;
    }
  }
  try_to([&] {
    const ViTImageProcessor processor(json);
    processor.str(), processor.to_dict();
    processor(image), processor(floats);
    ViTImageProcessor()(image, json);
  });
  try_to([&] {
    const LayoutLMv2ImageProcessor processor(json);
    processor.str(), processor(image, {{"apply_ocr", false}});
  });
  try_to([&] {
    const Wav2Vec2FeatureExtractor extractor(json);
    extractor.str(), extractor(sound, {.padding = "longest", .pad_to_multiple_of = 7, .return_attention_mask = true});
  });
  return 0;
}
