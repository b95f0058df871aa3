// Dense rows with many zeros as compressed sparse rows.
#pragma once

#include <vector>

#include "kernels/kernels.h"
#include "network/aligned_buffer.h"
#include "train/team.h"

namespace parmlp {

// Compressed rows that own their numbers.
template <class T>
struct CompressedRows {
  index_t rows = 0;
  index_t features = 0;
  std::vector<index_t> starts;
  // In huge pages: rows are taken in random order, and every TLB miss holds up the prefetching of entries.
  AlignedBuffer<int> columns;
  AlignedBuffer<T> values;

  SparseRows<T> view() const { return {rows, features, starts.data(), columns.data(), values.data()}; }
};

// x (rows, features), C-contiguous. NaN counts as a number, -0 as a zero: neither changes a sum.
template <class T>
CompressedRows<T> compress(const T* x, index_t rows, index_t features, Team& team);

}  // namespace parmlp
