// Counts what a thread takes from operator new, for promises that nothing is taken.
#pragma once

#include <cstddef>

namespace sluice {

// Of the calling thread, since it began.
std::size_t allocations() noexcept;

}  // namespace sluice
