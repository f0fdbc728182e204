// What the repositories of a hub cache share: huggingface_hub (2.4, utils/_shared_blobs.py) moves a file that came by
// Xet to CACHE/blobs/AB/HASH, where HASH is Xet's, and leaves a link in its place. Beside it lie HASH.refs, the links
// that lead to it, a line each, and HASH.lock.
#pragma once

#include <cstdint>
#include <filesystem>

namespace caracal::hub {

/// The shared file that the link `blob`, CACHE/models--owner--name/blobs/ETAG, leads to; empty when it is no such link.
std::filesystem::path shared_blob(const std::filesystem::path& blob);

/// Removes a shared file that no blob of any repository leads to any more; returns the bytes freed. In doubt (no list
/// of links, none that can be read, or no lock) it stays, as with huggingface_hub.
uint64_t sweep_shared_blob(const std::filesystem::path& shared);

}  // namespace caracal::hub
