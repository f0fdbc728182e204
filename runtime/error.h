// The one exception family of caracal. Every function that can fail throws Error, before it does any work; the
// library never prints, aborts or exits.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace caracal {

/// What kind of failure an Error reports; stable, so that callers can branch on it.
enum class ErrorCode {
  invalid_argument,  ///< the caller passed something the function does not accept
  not_found,         ///< a file, directory, tensor or name does not exist
  io,                ///< the operating system failed to read or write
  bad_file,          ///< a file's content is damaged or not what its name says
  unsupported,       ///< valid, but caracal cannot run it (unknown model type, pickle weights, …)
  not_built,         ///< the part of caracal that would do this was not compiled in
  internal,          ///< a bug in caracal
};

/// Text is `[where] expected X but got Y`; `where` is an op, a file or a dotted tensor name.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string_view where, std::string_view what)
      : std::runtime_error(std::string("[").append(where).append("] ").append(what)), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace caracal
