// Replaces malloc and its relatives by ones that count, and that fail when they are told to, for a program that
// includes this once. Not under sanitizers, which replace them too: CARACAL_SANITIZED is defined then, and nothing
// else.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <caracal/tests/sanitized.h>

#ifndef CARACAL_SANITIZED

static std::atomic<int64_t> allocations{0}, releases{0};
// The allocation after so many more fails, and from there on all of them if `failing_on`. -1: none.
static std::atomic<int64_t> allocations_left{-1};
static std::atomic<bool> failing_on{false};

// Counts an allocation; true when it is to fail.
static inline bool allocation_fails() {
  if (allocations_left >= 0 && allocations_left-- == 0) {
    if (failing_on) allocations_left = 0;
    return true;
  }
  allocations++;
  return false;
}

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t n) { return allocation_fails() ? nullptr : __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return allocation_fails() ? nullptr : __libc_calloc(n, size); }
void* realloc(void* p, size_t n) {
  if (allocation_fails()) return nullptr;
  if (p != nullptr) releases++;
  return __libc_realloc(p, n);
}
void* aligned_alloc(size_t alignment, size_t n) { return allocation_fails() ? nullptr : __libc_memalign(alignment, n); }
void* memalign(size_t alignment, size_t n) { return allocation_fails() ? nullptr : __libc_memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) {
  return allocation_fails() || (*p = __libc_memalign(alignment, n)) == nullptr ? 12 : 0;
}
void free(void* p) {
  if (p != nullptr) releases++;
  __libc_free(p);
}
}

#endif
