// Helpers of the tokenizer tests: stored expectations, and a directory to write files in.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <caracal/runtime/error.h>
#include <caracal/runtime/json.h>
#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal::testing {

inline std::string data_path(const std::string& name) { return CARACAL_TEST_DATA "/tokenizers/" + name; }

/// The JSON lines of a file under tests/data/tokenizers.
inline std::vector<Json> read_lines(const std::string& name) {
  std::ifstream file(data_path(name));
  EXPECT_TRUE(file) << name;
  std::vector<Json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(Json::parse(line, name));
  return rows;
}

template <class T>
std::vector<T> numbers(const Json& list) {
  std::vector<T> values;
  for (const Json& value : list.as_array()) values.push_back(static_cast<T>(value.as_int()));
  return values;
}

inline std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> values;
  for (const Json& value : list.as_array()) values.push_back(value.as_string());
  return values;
}

/// A tokenizer of tests/data/tokenizers/pipelines, and what is expected of it.
struct PipelineCase {
  Json content;            // its tokenizer.json
  std::vector<Json> rows;  // [text, ids, offsets, word ids, decoded, decoded without special tokens]
};

inline std::vector<PipelineCase> read_pipelines(const std::string& name) {
  std::vector<PipelineCase> cases;
  for (Json& line : read_lines("pipelines/" + name + ".jsonl")) {
    if (line.is_object()) {
      cases.push_back({std::move(line), {}});
    } else {
      cases.back().rows.push_back(std::move(line));
    }
  }
  return cases;
}

/// Offsets as begin, end, begin, end, …
inline std::vector<uint32_t> flat_offsets(const BatchEncoding& encoding, size_t row) {
  std::vector<uint32_t> flat;
  for (const auto& [begin, end] : encoding.offsets(row)) flat.insert(flat.end(), {begin, end});
  return flat;
}

/// A directory of its own, removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "caracal-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Expects `call` to throw an Error of this code whose text contains `part`.
template <class Call>
void expect_error(Call call, ErrorCode code, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "expected an Error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace caracal::testing
