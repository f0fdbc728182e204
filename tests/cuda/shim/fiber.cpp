#include <caracal/tests/cuda/shim/fiber.h>

#include <sys/mman.h>

#include <new>

#include <caracal/tests/sanitized.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace caracal::shim {
namespace {

constexpr size_t kPage = 64 << 10, kStack = 192 << 10;  // 64 KB: the largest page of any machine
thread_local Fiber* starting = nullptr;

}  // namespace

#if defined(__x86_64__)
// Saves what a function must keep, on the old stack, whose pointer goes to *from; takes it back from the new one.
extern "C" void caracal_shim_switch(void** from, void* to);
asm(R"(
.text
.local caracal_shim_switch
caracal_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#endif

Fiber::Fiber(void (*entry)()) : entry_(entry) {
  void* memory =
      mmap(nullptr, kPage + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kPage, PROT_NONE);
  stack_ = static_cast<char*>(memory) + kPage;
#if !defined(__x86_64__)
  here_ = new ucontext_t, outside_ = new ucontext_t;
#endif
  restart();
}

Fiber::~Fiber() {
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(here_);
  delete static_cast<ucontext_t*>(outside_);
#endif
  munmap(stack_ - kPage, kPage + kStack);
}

void Fiber::restart() {
  fake_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStack);
#endif
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(stack_ + kStack);
  top[-1] = nullptr;                                 // where begin() would return to
  top[-2] = reinterpret_cast<void*>(&Fiber::begin);  // where the first switch returns to
  here_ = top - 8;                                   // below the six registers
#else
  ucontext_t* context = static_cast<ucontext_t*>(here_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = kStack;
  context->uc_link = nullptr;
  makecontext(context, &Fiber::begin, 0);
#endif
}

void Fiber::begin() {
  Fiber* fiber = starting;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &fiber->outside_stack_, &fiber->outside_size_);
#endif
  fiber->entry_();
}

void Fiber::enter() {
  starting = this;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_, kStack);
#endif
#if defined(__x86_64__)
  caracal_shim_switch(&outside_, here_);
#else
  swapcontext(static_cast<ucontext_t*>(outside_), static_cast<ucontext_t*>(here_));
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::leave() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, outside_stack_, outside_size_);
#endif
#if defined(__x86_64__)
  caracal_shim_switch(&here_, outside_);
#else
  swapcontext(static_cast<ucontext_t*>(here_), static_cast<ucontext_t*>(outside_));
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_stack_, &outside_size_);
#endif
}

}  // namespace caracal::shim
