// What the fuzz targets share.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <caracal/runtime/json.h>

/// Runs `call`, which may throw an Error and nothing else.
template <class F>
void try_to(F call) {
  try {
    call();
  } catch (const caracal::Error&) {
  }
}

/// The input as JSON, or null where it is none.
inline caracal::Json json_of(const uint8_t* data, size_t size) {
  try {
    return caracal::Json::parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const caracal::Error&) {
    return {};
  }
}

/// A directory for what must be a file; in memory where the system has /dev/shm.
struct Scratch {
  std::filesystem::path path;
  Scratch() {
    std::string name = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    name += "/caracal-fuzz-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) abort();
    path = name;
  }
  ~Scratch() { std::filesystem::remove_all(path); }
};

inline void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary).write(content.data(), std::streamsize(content.size()));
}
