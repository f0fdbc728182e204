// What blocks see of each other's writes while a grid runs, if it is as little as a GPU promises.
//
// A block begins with memory as it was when the grid began. What it writes is seen by no other block until it passes a
// fence, and what others have written it does not see until it passes a fence behind an atomic operation. Atomic
// operations are seen at once. When the grid is done all is there.
#pragma once

#include <cstddef>

namespace caracal::shim::weak_memory {

void begin_grid();
void begin_block();
void end_block();
void end_grid();
void fence();
/// Around an atomic operation: memory there is made, and left, everybody's.
void begin_atomic(void* p, size_t bytes);
void end_atomic(void* p, size_t bytes);

}  // namespace caracal::shim::weak_memory
