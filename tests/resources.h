// What a call costs: CPU time, and the most memory the process had in it.
#pragma once

#include <time.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace caracal {

/// Seconds of CPU time of the process: a busy machine does not lengthen them.
inline double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// A number of /proc/self/status, in MiB where that is in kB: "VmRSS", "VmHWM" (its highest value), "Threads".
inline double process_status(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":"))
      return std::stod(line.substr(name.size() + 1)) / (line.ends_with("kB") ? 1024 : 1);
  return -1;
}

/// Starts VmHWM anew, where the system allows it.
inline void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace caracal
