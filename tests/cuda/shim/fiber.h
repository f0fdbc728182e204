// A thread of execution with a stack of its own, which runs when it is switched to.
#pragma once

#include <cstddef>

namespace caracal::shim {

class Fiber {
 public:
  /// Runs `entry` when first switched to; it must not return.
  Fiber(void (*entry)());
  ~Fiber();
  Fiber(Fiber&&) = delete;

  /// Runs the fiber until it calls leave().
  void enter();
  /// Goes back to who entered the fiber; called on it.
  void leave();
  /// Makes it begin anew, at `entry`.
  void restart();

 private:
  static void begin();

  void (*entry_)();
  char* stack_;                                // lowest address, above a page that cannot be touched
  void *here_ = nullptr, *outside_ = nullptr;  // stack pointers (ucontexts where there is no assembly for the machine)
  void* fake_stack_ = nullptr;                 // AddressSanitizer's
  const void* outside_stack_ = nullptr;
  size_t outside_size_ = 0;
};

}  // namespace caracal::shim
