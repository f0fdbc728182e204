// What lies in a directory.
#pragma once

#include <string>
#include <system_error>
#include <vector>

namespace caracal {

/// The names in `directory`, sorted bytewise, without "." and "..". What stops the listing goes to `error`. In the
/// place of std::filesystem::directory_iterator, which ends the process (libstdc++ 12) where it gets no memory; this
/// throws std::bad_alloc.
std::vector<std::string> names_in(const std::string& directory, std::error_code& error);

}  // namespace caracal
