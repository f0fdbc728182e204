#include "hub.h"

#include <algorithm>
#include <memory>

#include "common.h"

namespace caracal::cli {
namespace {

// One bar for all files of a download. It goes back where a server makes a file start again.
class Bar {
 public:
  void show(const DownloadProgress& progress) {
    if (progress.total == 0) return;
    constexpr uint64_t kUnit = 1000;  // bytes; a kB at least, so that a bar of small files moves
    if (bar_ == nullptr || progress.total != total_) {
      bar_ = std::make_unique<Progress>(int64_t((progress.total + kUnit - 1) / kUnit), "kB");
      total_ = progress.total;
      shown_ = 0;
    }
    const int64_t done = int64_t((progress.done + kUnit - 1) / kUnit);
    bar_->advance(done - shown_);
    shown_ = done;
    if (progress.done == progress.total) bar_.reset();
  }

 private:
  std::unique_ptr<Progress> bar_;
  uint64_t total_ = 0;
  int64_t shown_ = 0;
};

}  // namespace

DownloadOptions download_options() {
  DownloadOptions options;
  if (hub_settings().progress_bars)
    options.progress = [bar = std::make_shared<Bar>()](const DownloadProgress& progress) { bar->show(progress); };
  return options;
}

// A bar for each download: where that fails, the bar is gone before the error is shown.
void enable_hub() {
  set_hub_fetcher([](const HubRequest& request) { return download_snapshot(request, download_options()); });
}

}  // namespace caracal::cli
