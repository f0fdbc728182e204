// BaseImageProcessor: images in, pixel_values out. One class per architecture derives from it, as in transformers.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/models/feature_extraction_utils.h>
#include <caracal/runtime/image_ops.h>

namespace caracal {

/// The most pixels an image may be resized, cropped or padded to: sizes come from files.
inline constexpr int64_t kMaxProcessedPixels = 178'956'970;

/// The filter of a `resample` argument: Pillow's number or its name ("PIL.Image.BOX", "box"). Throws invalid_argument.
Resample resample_from_json(const Json& value, std::string_view where);

/// What a class derived from BaseImageProcessor says about itself.
struct ImageProcessorClass {
  const char* name;  // "ViTImageProcessor"
  Json defaults;     // transformers' class attributes; null where they are None
  Json listing;      // what the printed listing always shows, beside what was given
  std::vector<std::pair<std::string, Json>>
      extra;  // arguments beyond transformers' ImagesKwargs, with an example value
};

/// Arguments are those of transformers' ImagesKwargs, under the same names, in the constructor, in
/// preprocessor_config.json and in the call: do_convert_rgb, do_resize, size, default_to_square, crop_size, resample,
/// do_rescale, rescale_factor, do_normalize, image_mean, image_std, do_pad, pad_size, do_center_crop,
/// input_data_format; accepted without effect: data_format, device, return_tensors, disable_grouping, image_seq_length.
/// Results are those of the PIL backend. Immutable; may be called from several threads at once.
class BaseImageProcessor {
 public:
  virtual ~BaseImageProcessor() = default;

  /// Images are U8 or F32, (H, W, C) or (C, H, W) with 1, 3 or 4 channels (told apart by the sizes, or by
  /// input_data_format), (H, W), or a batch of one size with one dimension more. Gives pixel_values, one (C, H, W) an
  /// image: F32, or U8 when neither rescaled nor normalised. `kwargs` overrides attributes for this call. Throws
  /// invalid_argument for an unknown argument, a value of the wrong type or an image that does not fit.
  BatchFeature operator()(const std::vector<Tensor>& images, const Json& kwargs = {}) const;
  BatchFeature operator()(const Tensor& image, const Json& kwargs = {}) const {
    return (*this)(std::vector<Tensor>{image}, kwargs);
  }
  BatchFeature preprocess(const std::vector<Tensor>& images, const Json& kwargs = {}) const {
    return (*this)(images, kwargs);
  }

  /// "ViTImageProcessor".
  const char* class_name() const noexcept { return class_.name; }
  /// An attribute as transformers keeps it (size as an object); null when it is None or unknown.
  const Json& attribute(std::string_view name) const;
  /// What save_pretrained writes: transformers' to_dict().
  Json to_dict() const;
  /// The documentation's listing: `ViTImageProcessor {json}`, each argument as it was given, and a last newline.
  std::string str() const;
  /// Writes preprocessor_config.json, which transformers loads back.
  void save_pretrained(const std::string& directory) const;
  /// Where images are resized; by default on the calling thread only.
  void set_runtime(std::shared_ptr<const Runtime> runtime) { runtime_ = std::move(runtime); }
  const Runtime& runtime() const noexcept { return *runtime_; }

 protected:
  /// `given` are constructor arguments or a file's content; arguments no class knows are kept and written back.
  BaseImageProcessor(ImageProcessorClass description, const Json& given, const std::string& where);

  /// Called with (H, W, C) images, converted to RGB where asked for, and with all attributes in `arguments`.
  virtual BatchFeature process(const std::vector<Tensor>& images, const Json& arguments) const;

  /// An image resized as `arguments` say, or as it is without do_resize. F32 images become U8 as in the PIL backend;
  /// `scaled` tells whether they were 0 … 1.
  Tensor resized(const Tensor& image, const Json& arguments, bool& scaled) const;

 private:
  Json checked(const Json& kwargs, const std::string& where, bool in_call) const;

  ImageProcessorClass class_;
  Json given_, attributes_;
  std::shared_ptr<const Runtime> runtime_;
};

}  // namespace caracal
