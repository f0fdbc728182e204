// caracal::hub: downloads from the Hugging Face hub, or another server of its protocol, into the cache that
// huggingface_hub uses too. Nothing is fetched unless it is asked for:
//
//   caracal::enable_downloads();            // once, for every from_pretrained in this process
//   auto model = caracal::AutoModel::from_pretrained("google-bert/bert-base-uncased");
//
// or, without any state, from_pretrained(download_snapshot({.name = "google-bert/bert-base-uncased"})).
#pragma once

#include <functional>
#include <string>

#include <caracal/loaders/hub_cache.h>
#include <caracal/loaders/hub_http.h>

namespace caracal {

/// How far a download is. Bytes; `done` and `total` are of all files of a request, those in the cache not counted; of
/// sharded weights first with their index, then anew of the shards that it names. Counts go back when a server starts a
/// file again. While the hub is asked what there is, `file` is empty and `total`
/// is 0.
struct DownloadProgress {
  const std::string& file;
  uint64_t file_done, file_total, done, total;
};

/// How to download.
struct DownloadOptions {
  std::string endpoint = {};   // default: hub_settings().endpoint
  int parallel = 4;            // files at a time, a thread each that ends with the download
  hub::HttpOptions http = {};  // attempts and patience
  // One call at a time for each download, from any thread, with every piece that arrives and every 100 ms or so while
  // nothing does (also while another process holds a lock, or the server has asked to wait). May throw to stop.
  std::function<void(const DownloadProgress&)> progress = {};
};

/// Gets what `request` names into the cache, unless it is there, and returns the folder of its snapshot (without the
/// subfolder): one question for the commit of a branch, one for the list of files when the cache lacks it, then the
/// missing files in parallel. Every file's hash is checked before its name appears. Safe beside other processes and
/// threads that do the same. Without a network, with a token that the hub does not take, and with local_files_only or
/// HF_HUB_OFFLINE what the cache has is used if nothing of the request is missing (as by huggingface_hub's
/// snapshot_download, which raises where a connection breaks off). Throws not_found (no such repository, revision or
/// file, or it needs a token), unsupported (weights in formats that caracal refuses), bad_file (not what the hub
/// promised), io, invalid_argument.
std::string download_snapshot(const HubRequest& request, const DownloadOptions& options = {});

/// Makes every from_pretrained download, by download_snapshot, the names of the hub that it is given; with
/// local_files_only or HF_HUB_OFFLINE it still does not. Replaces earlier options. Safe from any thread; what is wrong
/// with the options, the download throws.
void enable_downloads(DownloadOptions options = {});
/// Ends that, but for downloads that run.
void disable_downloads();

}  // namespace caracal
