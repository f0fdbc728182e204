#include <caracal/models/vit/image_processing_vit.h>

#include <caracal/loaders/hub_cache.h>

namespace caracal {
namespace {

ImageProcessorClass description() {
  const Json half = Json::Array{0.5, 0.5, 0.5};
  return {.name = "ViTImageProcessor",
          .defaults = {{"do_resize", true},
                       {"size", Json{{"height", 224}, {"width", 224}}},
                       {"resample", 2},
                       {"do_rescale", true},
                       {"rescale_factor", 1 / 255.0},
                       {"do_normalize", true},
                       {"image_mean", half},
                       {"image_std", half}},
          .listing = {{"do_normalize", true},
                      {"do_resize", true},
                      {"image_mean", half},
                      {"image_std", half},
                      {"resample", 2},
                      {"size", 224}},
          .extra = {}};
}

}  // namespace

ViTImageProcessor::ViTImageProcessor(const Json& arguments, const std::string& where)
    : BaseImageProcessor(description(), arguments, where) {}

ViTImageProcessor ViTImageProcessor::from_pretrained(const std::string& path, const Json& overrides) {
  const LocatedFiles at = locate_files(path, HubPart::preprocessor, overrides);
  return ViTImageProcessor(load_preprocessor_config(at.path, "image_processor", at.overrides), at.path);
}

}  // namespace caracal
