// Where a tensor's memory lives.
#pragma once

#include <string>

namespace caracal {

enum class DeviceType { cpu, cuda };

/// A device as torch names it: `cpu`, `cuda`, `cuda:1`.
struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu", "cuda:1".
inline std::string name_of(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

}  // namespace caracal
