// Git LFS pointers: the lines of text that a clone holds in the place of a large file that was not downloaded.
#pragma once

#include <string_view>

#include <caracal/runtime/error.h>

namespace caracal {

/// Throws unsupported, and says what to do, when the content of the file `where` begins as a pointer does.
inline void expect_no_lfs_pointer(std::string_view content, std::string_view where) {
  if (content.starts_with("version https://git-lfs.github.com/spec/"))
    throw Error(ErrorCode::unsupported, where,
                "expected the file itself but got a Git LFS pointer: it was not downloaded; run `git lfs pull` in its "
                "repository");
}

}  // namespace caracal
