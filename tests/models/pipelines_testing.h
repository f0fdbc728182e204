// What the pipeline tests share: checkpoints put together from small models and processor files, inputs made of
// numbers, and results compared as the issue promises: the same fields, scores within 1e-5.
#pragma once

#include <map>

#include <caracal/models/pipelines/pipeline.h>

#include "models_testing.h"

namespace caracal {

/// The inputs of tools/make_task_goldens.py.
inline Tensor noise(int64_t count) {
  Tensor samples = Tensor::empty({count});
  for (int64_t i = 0; i < count; i++)
    samples.data<float>()[i] = float((i * i * 31 + i * 7919 + (i / 97) * 1013) % 2001 - 1000) / 1000.0f;
  return samples;
}
inline Tensor pixels(int64_t height, int64_t width) {
  Tensor image = Tensor::empty({height, width, 3}, DType::U8);
  uint8_t* out = image.data<uint8_t>();
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++)
      for (int64_t c = 0; c < 3; c++) *out++ = uint8_t((y * 31 + x * 17 + c * 101 + x * y * 3) % 256);
  return image;
}

/// An input of a stored row; files are in `folder`.
inline PipelineInput stored_input(const Json& json, const std::string& task, const std::string& folder) {
  Json rest = json;
  if (rest.is_object()) rest.erase("pixels");
  if (const Json* count = json.find("noise")) {
    rest.erase("noise");
    const Tensor sound = noise(count->as_int());
    Json::Array samples;
    for (const float sample : sound.values<float>()) samples.emplace_back(double(sample));
    rest.set("raw", std::move(samples));
  }
  PipelineInput input = pipeline_input(rest);
  const bool takes_file = task.starts_with("image") || task.starts_with("audio") || task.starts_with("automatic") ||
                          task.starts_with("document");
  if (takes_file && json.is_string()) input = {.file = folder + "/" + input.text};
  if (!input.file.empty() && !json.is_string()) input.file = folder + "/" + input.file;
  if (const Json* size = json.find("pixels"))
    input.image = pixels(size->as_array()[0].as_int(), size->as_array()[1].as_int());
  return input;
}

/// The same fields in the same order, and numbers within `tolerance`; integers and texts exactly.
inline testing::AssertionResult same(const Json& got, const Json& want, double tolerance, const std::string& at = "") {
  auto differ = [&] { return testing::AssertionFailure() << at << ": " << got.dump() << " but " << want.dump(); };
  if (want.is_object() && got.is_object() && got.as_object().size() == want.as_object().size()) {
    for (size_t i = 0; i < want.as_object().size(); i++) {
      const auto& [key, value] = want.as_object()[i];
      if (got.as_object()[i].first != key) return differ();
      if (auto result = same(got.as_object()[i].second, value, tolerance, at + "." + key); !result) return result;
    }
    return testing::AssertionSuccess();
  }
  if (want.is_array() && got.is_array() && got.as_array().size() == want.as_array().size()) {
    for (size_t i = 0; i < want.as_array().size(); i++)
      if (auto result = same(got.as_array()[i], want.as_array()[i], tolerance, at + "[" + std::to_string(i) + "]");
          !result)
        return result;
    return testing::AssertionSuccess();
  }
  if (want.type() == Json::Type::number && got.is_number()) {
    const double limit = tolerance * std::max(1.0, std::abs(want.as_double()));
    return std::abs(got.as_double() - want.as_double()) <= limit ? testing::AssertionSuccess() : differ();
  }
  return got == want ? testing::AssertionSuccess() : differ();
}

/// Runs the rows of a file of expectations of one checkpoint: each input alone, and in batches.
inline void expect_rows(const std::string& checkpoint, const Json& rows, const PipelineFiles& files = {}) {
  std::map<std::string, std::unique_ptr<Pipeline>> pipelines;
  for (const Json& row : rows.as_array()) {
    const std::string& task = row.at("task").as_string();
    const Json& arguments = row.at("arguments");
    SCOPED_TRACE(checkpoint + " " + task + " " + arguments.dump());
    std::unique_ptr<Pipeline>& pipe = pipelines[task];
    if (pipe == nullptr) pipe = pipeline(task, checkpoint, {.files = files});
    std::vector<PipelineInput> inputs;
    for (const Json& input : row.at("inputs").as_array()) inputs.push_back(stored_input(input, task, checkpoint));
    const Json::Array& want = row.at("outputs").as_array();
    ASSERT_EQ(inputs.size(), want.size());
    const double tolerance = task.ends_with("feature-extraction") ? 2e-5 : 1e-5;
    std::vector<Json> alone;
    for (size_t i = 0; i < inputs.size(); i++) {
      alone.push_back((*pipe)(inputs[i], arguments));
      EXPECT_TRUE(same(alone[i], want[i], tolerance)) << row.at("inputs").as_array()[i].dump();
    }
    EXPECT_EQ((*pipe)(inputs, arguments, 3), alone) << "in batches of 3";  // to the bit
  }
}

}  // namespace caracal
