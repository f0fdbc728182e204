// What the subcommands about the hub share.
#pragma once

#include <caracal/loaders/hub.h>

namespace caracal::cli {

/// With bars on a terminal, unless $HF_HUB_DISABLE_PROGRESS_BARS.
DownloadOptions download_options();

}  // namespace caracal::cli
