#include <caracal/models/loading_info.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace caracal {
namespace {

using Row = std::array<std::string, 3>;  // key, status, details

bool is_index(std::string_view part) {
  return !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
}

std::string index_text(const std::set<int>& indices) {
  constexpr size_t kMostListed = 10;
  if (indices.size() == 1) return std::to_string(*indices.begin());
  if (indices.size() > kMostListed)
    return "{" + std::to_string(*indices.begin()) + "..." + std::to_string(*indices.rbegin()) + "}";
  std::string text;
  for (int index : indices) text += (text.empty() ? "" : ", ") + std::to_string(index);
  return "{" + text + "}";
}

// "layer.3.x" -> "layer.*.x", with the indices beside.
std::string pattern_of(const std::string& name, std::vector<int>& indices) {
  std::string pattern;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    if (begin > 0) pattern += '.';
    if (begin > 0 && is_index(part)) {
      indices.push_back(std::stoi(part));
      pattern += '*';
    } else {
      pattern += part;
    }
    begin = end + 1;
  }
  return pattern;
}

using NamesAndDetails = std::vector<std::pair<std::string, std::string>>;

// Names that differ in their indices only share a row.
void add_rows(std::vector<Row>& rows, const NamesAndDetails& names, const std::string& status) {
  struct Group {
    std::vector<std::set<int>> indices;
    std::string details;
  };
  std::map<std::string, Group> groups;
  for (const auto& [name, details] : names) {
    std::vector<int> indices;
    Group& group = groups[pattern_of(name, indices)];
    group.details = details;
    group.indices.resize(std::max(group.indices.size(), indices.size()));
    for (size_t i = 0; i < indices.size(); i++) group.indices[i].insert(indices[i]);
  }
  for (const auto& [pattern, group] : groups) {
    std::string key;
    size_t index = 0;
    for (char c : pattern) {
      if (c == '*' && index < group.indices.size())
        key += index_text(group.indices[index++]);
      else
        key += c;
    }
    rows.push_back({key, status, group.details});
  }
}

std::string torch_size(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return "torch.Size([" + text + "])";
}

std::string table(std::vector<Row> rows) {
  rows.insert(rows.begin(), Row{"Key", "Status", ""});
  std::array<size_t, 3> widths{};
  for (const Row& row : rows)
    for (size_t i = 0; i < 3; i++) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (size_t r = 0; r < rows.size(); r++) {
    for (size_t i = 0; i < 3; i++) {
      text += i ? " | " : r ? "\n" : "";
      text += rows[r][i] + std::string(widths[i] - rows[r][i].size(), ' ');
    }
    if (r > 0) continue;
    for (size_t i = 0; i < 3; i++) text += (i ? "-+-" : "\n") + std::string(widths[i], '-');
  }
  return text;
}

}  // namespace

std::string LoadingInfo::report(const std::string& class_name, const std::string& path) const {
  std::vector<Row> rows;
  std::string notes;
  NamesAndDetails names;
  for (const std::string& name : unexpected_keys) names.emplace_back(name, "");
  add_rows(rows, names, "UNEXPECTED");
  if (!names.empty())
    notes +=
        "\n- UNEXPECTED:\tcan be ignored when loading from different task/architecture; not ok if you expect "
        "identical arch.";
  names.clear();
  for (const std::string& name : missing_keys) names.emplace_back(name, "");
  add_rows(rows, names, "MISSING");
  if (!names.empty())
    notes +=
        "\n- MISSING:\tthose params were newly initialized because missing from the checkpoint. Consider training "
        "on your downstream task.";
  names.clear();
  for (const MismatchedKey& key : mismatched_keys) {
    names.emplace_back(key.name, "Reinit due to size mismatch - ckpt: " + torch_size(key.checkpoint_shape) +
                                     " vs model:" + torch_size({key.model_shape.begin(), key.model_shape.end()}));
  }
  add_rows(rows, names, "MISMATCH");
  if (!names.empty())
    notes += "\n- MISMATCH:\tckpt weights were loaded, but they did not match the original empty weight shapes.";
  if (rows.empty()) return {};
  return class_name + " LOAD REPORT from: " + path + "\n" + table(std::move(rows)) + "\n\nNotes:" + notes;
}

}  // namespace caracal
