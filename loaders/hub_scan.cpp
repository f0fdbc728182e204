#include <caracal/loaders/hub_scan.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include <caracal/loaders/directory.h>
#include <caracal/loaders/file.h>
#include <caracal/loaders/hub_blob.h>
#include <caracal/loaders/hub_cache.h>
#include <caracal/loaders/hub_shared.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModels = "models--";

// The entries of a folder in the order of their names; none when it is not there.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const std::string& name : names_in(folder.string(), error)) entries.push_back(folder / name);
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error(ErrorCode::io, folder.string(), "expected to list this folder but got: " + error.message());
  return entries;
}

// Every file and link below a folder, relative to it, links not followed.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::path& entry : entries_of(folder)) {
    std::error_code ignored;
    const fs::file_type type = fs::symlink_status(entry, ignored).type();
    if (type != fs::file_type::directory) {
      files.push_back(entry.filename());
      continue;
    }
    for (const fs::path& file : files_below(entry)) files.push_back(entry.filename() / file);
  }
  return files;
}

uint64_t size_of(const fs::path& file) {
  std::error_code error;
  const uintmax_t size = fs::file_size(file, error);
  return error ? 0 : uint64_t(size);
}

bool is_incomplete(const fs::path& blob) { return blob.filename().string().ends_with(".incomplete"); }

fs::path cache_folder(const std::string& cache_dir) {
  return fs::path(hub_repository_folder("x", {.cache_dir = cache_dir})).parent_path();
}

// "models--org--name" -> "org/name"; empty for other folders.
std::string name_of(const fs::path& folder) {
  std::string name = folder.filename().string();
  if (!name.starts_with(kModels)) return {};
  name.erase(0, kModels.size());
  if (const size_t at = name.find("--"); at != name.npos) name.replace(at, 2, "/");
  return is_hub_name(name) ? name : std::string();
}

CachedRepository scan_repository(const fs::path& folder) {
  CachedRepository repository{.name = name_of(folder), .path = folder.string()};
  for (const fs::path& blob : entries_of(folder / "blobs")) {
    repository.bytes += size_of(blob);
    if (is_incomplete(blob)) repository.incomplete.push_back(blob.string());
  }
  for (const fs::path& snapshot : entries_of(folder / "snapshots")) {
    CachedRevision revision{.commit = snapshot.filename().string()};
    std::set<fs::path> blobs;
    for (const fs::path& file : files_below(snapshot)) {
      revision.files.push_back(file.string());
      std::error_code ignored;
      const fs::path blob = fs::canonical(snapshot / file, ignored);
      if (blobs.insert(blob).second) revision.bytes += size_of(blob);
    }
    for (const fs::path& ref : files_below(folder / "refs"))
      if (ref.extension() != ".tmp" && read_start(folder / "refs" / ref, 64) == revision.commit)
        revision.refs.push_back(ref.string());
    repository.revisions.push_back(std::move(revision));
  }
  return repository;
}

fs::path existing_repository(const std::string& name, const std::string& cache_dir) {
  const fs::path folder = hub_repository_folder(name, {.cache_dir = cache_dir});
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    throw Error(ErrorCode::not_found, name, "expected a repository in the cache but there is none of this name");
  return folder;
}

// What a file of a snapshot is a link to, which may itself be a link (see shared_blob()); the file if it is none.
fs::path blob_of(const fs::path& file) {
  std::error_code error;
  const fs::path target = fs::read_symlink(file, error);
  if (error) return file;
  const fs::path blob = target.is_absolute() ? target : file.parent_path() / target;
  return fs::canonical(blob.parent_path(), error) / blob.filename();
}

// Out of sight at once, then away.
void remove_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return;
  const fs::path aside = folder.parent_path() / ("." + folder.filename().string() + "." + hub::random_suffix() + ".rm");
  fs::rename(folder, aside, error);
  if (!error) fs::remove_all(aside, error);
  if (error) throw Error(ErrorCode::io, folder.string(), "expected to remove this but got: " + error.message());
}

}  // namespace

std::vector<CachedRepository> scan_cache(const std::string& cache_dir) {
  std::vector<CachedRepository> repositories;
  for (const fs::path& entry : entries_of(cache_folder(cache_dir)))
    if (!name_of(entry).empty()) repositories.push_back(scan_repository(entry));
  return repositories;
}

uint64_t remove_from_cache(const std::string& name, const std::string& revision, const std::string& cache_dir) {
  const fs::path folder = existing_repository(name, cache_dir);
  const CachedRepository before = scan_repository(folder);
  std::error_code ignored;
  uint64_t freed = 0;
  std::vector<fs::path> shared;
  auto count = [&](const fs::path& blob) {  // before it goes
    if (fs::path file = hub::shared_blob(blob); !file.empty())
      shared.push_back(std::move(file));
    else
      freed += size_of(blob);
  };
  auto sweep = [&] {
    for (const fs::path& file : shared) freed += hub::sweep_shared_blob(file);
    return freed;
  };
  if (revision.empty()) {
    for (const fs::path& blob : entries_of(folder / "blobs")) count(blob);
    remove_folder(folder);
    remove_folder(folder.parent_path() / ".locks" / folder.filename());
    return sweep();
  }
  const std::string commit = cached_commit(name, {.revision = revision, .cache_dir = cache_dir});
  const auto found = std::find_if(before.revisions.begin(), before.revisions.end(),
                                  [&](const CachedRevision& each) { return each.commit == commit; });
  if (found == before.revisions.end())
    throw Error(ErrorCode::not_found, name, "expected a cached revision but got " + Json(revision).dump());
  std::set<fs::path> mine, others;
  for (const CachedRevision& each : before.revisions)
    for (const std::string& file : each.files)
      (each.commit == commit ? mine : others).insert(blob_of(folder / "snapshots" / each.commit / file));
  for (const std::string& ref : found->refs) fs::remove(folder / "refs" / ref, ignored);
  remove_folder(folder / "snapshots" / commit);
  remove_folder(folder / ".no_exist" / commit);
  fs::remove(folder / "trees" / (commit + ".json"), ignored);
  const fs::path blobs = fs::canonical(folder / "blobs", ignored);
  for (const fs::path& blob : mine) {
    if (others.contains(blob) || blob.parent_path() != blobs) continue;
    const uint64_t so_far = freed;
    count(blob);
    if (!fs::remove(blob, ignored)) freed = so_far;
  }
  return sweep();
}

CacheReport verify_cache(const std::string& name, const std::string& cache_dir) {
  std::vector<fs::path> folders;
  if (name.empty()) {
    for (const CachedRepository& repository : scan_cache(cache_dir)) folders.push_back(repository.path);
  } else {
    folders.push_back(existing_repository(name, cache_dir));
  }
  CacheReport report;
  for (const fs::path& folder : folders) {
    for (const fs::path& blob : entries_of(folder / "blobs")) {
      const std::string etag = blob.filename().string(), path = blob.string();
      if (is_incomplete(blob)) {
        report.notes.push_back(path + ": an unfinished download");
        continue;
      }
      if (!is_hex(etag, 40) && !is_hex(etag, 64)) {
        report.notes.push_back(path + ": its name is no hash, so it cannot be checked");
        continue;
      }
      try {
        const File file = File::open(path);
        const std::string hash = hub::hash_of_file(file.descriptor(), etag, file.size(), path);
        report.blobs++;
        report.bytes += file.size();
        if (hash != etag) report.problems.push_back(path + ": expected this hash but its bytes have " + hash);
      } catch (const Error& error) {
        report.problems.push_back(error.what());
      }
    }
    for (const fs::path& file : files_below(folder / "snapshots")) {
      std::error_code ignored;
      const fs::path path = folder / "snapshots" / file;
      if (!fs::exists(path, ignored)) report.problems.push_back(path.string() + ": a link that leads nowhere");
    }
  }
  return report;
}

}  // namespace caracal
