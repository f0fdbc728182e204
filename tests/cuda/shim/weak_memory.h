// What blocks see of each other's writes while a grid runs, if it is as little as a GPU promises.
//
// A block begins with memory as it was when the grid began. An atomic operation makes what the block had written before
// a fence before it, and what it had seen, known to whoever does an atomic operation there later, and passes a fence
// behind that. Atomic operations are seen at once. When the grid is done all is there.
#pragma once

#include <cstddef>

namespace caracal::shim::weak_memory {

void begin_grid();
void begin_block();
/// Another block goes on in place of the running one, whose view of memory is kept under its `place`, and back.
void suspend_block(size_t place);
void resume_block(size_t place);
void end_block();
void end_grid();
void fence();
/// Around an atomic operation: memory there is made, and left, everybody's. writes: it is more than a load.
void begin_atomic(void* p, size_t bytes);
void end_atomic(void* p, size_t bytes, bool writes);

}  // namespace caracal::shim::weak_memory
