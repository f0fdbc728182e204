// What the fuzz targets on configurations share.
#pragma once

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
