// Any JSON as preprocessor_config.json and as the arguments of a call of each image processor, which then processes
// small images: an Error or features, never more.
#include <caracal/models/layoutlmv2/image_processing_layoutlmv2.h>
#include <caracal/models/vit/image_processing_vit.h>

#include "fuzzing.h"

namespace {

// Sizes that are allowed but slow to compute with would only tell how large they are.
bool has_large_size(const caracal::Json& json) {
  for (const char* key : {"size", "crop_size", "pad_size"}) {
    const caracal::Json* value = json.find(key);
    if (value == nullptr) continue;
    const std::string text = value->dump();
    int digits = 0;
    for (char c : text) {
      digits = c >= '0' && c <= '9' ? digits + 1 : 0;
      if (digits == 3) return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  static const Tensor image = Tensor::zeros({3, 5, 3}, DType::U8), floats = Tensor::zeros({5, 4, 3});
  Json json = json_of(data, size);
  if (has_large_size(json)) return 0;
  if (json.is_object() && !json.contains("size")) json.set("size", 8);  // 224 takes long
  try_to([&] {
    const ViTImageProcessor processor(json);
    processor.str(), processor.to_dict();
    processor(image), processor(floats);
  });
  try_to([&] { ViTImageProcessor()(image, json); });
  try_to([&] {
    const LayoutLMv2ImageProcessor processor(json);
    processor.str(), processor(image, {{"apply_ocr", false}});
  });
  return 0;
}
