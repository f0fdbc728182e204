// What a program gets by linking caracal::onednn: the backend, by name.
#include <caracal/caracal.h>

#include <cstdio>
#include <string>

int main() {
  const caracal::Runtime runtime({.threads = 1, .backend = "onednn"});
  std::puts(runtime.backend());
  return std::string(runtime.backend()) == "onednn" ? 0 : 1;
}
