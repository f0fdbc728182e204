#include <caracal/tests/cuda/shim/static_shared.h>

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

namespace caracal::shim {
namespace {

/// What was added to the program's addresses when it was loaded.
uintptr_t load_bias() {
  uintptr_t bias = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the program is the first
      },
      &bias);
  return bias;
}

bool is_function_static(const char* name) {
  // _ZZ: local to a function; N: one in a namespace; and its name. Functions of an anonymous one in it are N12_GLOBAL….
  return std::strncmp(name, "_ZZN7caracal7kernels4cuda", 25) == 0;
}

std::vector<Range> find() {
  std::vector<Range> found;
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ElfW(Ehdr) header;
  if (bytes.size() < sizeof header) return found;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes.data() + header.e_shoff);
  const uintptr_t bias = load_bias();
  for (int i = 0; i < header.e_shnum; i++) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes.data() + sections[i].sh_offset);
    const char* names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    bool kernels = false;  // local symbols follow their file's
    for (size_t j = 0; j < sections[i].sh_size / sizeof(ElfW(Sym)); j++) {
      const ElfW(Sym)& symbol = symbols[j];
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FILE)
        kernels = std::string_view(names + symbol.st_name).ends_with(".cu");
      if (ELF64_ST_BIND(symbol.st_info) == STB_LOCAL && !kernels) continue;
      if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_shndx >= header.e_shnum) continue;
      const bool constant = (sections[symbol.st_shndx].sh_flags & SHF_WRITE) == 0;
      if (!constant && is_function_static(names + symbol.st_name)) {
        found.push_back({reinterpret_cast<char*>(bias + symbol.st_value), size_t(symbol.st_size)});
      }
    }
  }
  return found;
}

}  // namespace

const std::vector<Range>& static_shared() {
  static const std::vector<Range> ranges = find();
  return ranges;
}

}  // namespace caracal::shim
