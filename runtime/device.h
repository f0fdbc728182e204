// Where a tensor's memory lives.
#pragma once

namespace caracal {

enum class DeviceType { cpu, cuda };

/// A device as torch names it: `cpu`, `cuda`, `cuda:1`.
struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

}  // namespace caracal
