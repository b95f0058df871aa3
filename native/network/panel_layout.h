// The kernel layout of a matrix: column panels a few vectors wide, each stored row after row.
#pragma once

#include "kernels/inline.h"
#include "network/functions.h"

namespace parmlp {

// The B operand of every product, B (rows, columns), is cut into panels of one to three vectors. Inside a
// panel, row k is `width` consecutive values, so a kernel that walks k reads one contiguous stream.
// Columns are padded to whole vectors with zeros; panels are balanced (13 vectors are 3+3+3+2+2, not
// 3+3+3+3+1) because a one-vector panel has too few independent sums to hide the FMA latency.
struct PanelLayout {
  static constexpr index_t kMaxVectors = 3;

  index_t rows = 0;
  index_t columns = 0;
  index_t vector_length = 1;
  index_t panels = 0;
  index_t base_vectors = 0;  // vectors in a narrow panel
  index_t wide_panels = 0;   // the first so many panels have one vector more

  PanelLayout() = default;

  PARMLP_INLINE PanelLayout(index_t rows_, index_t columns_, index_t vector_length_)
      : rows(rows_), columns(columns_), vector_length(vector_length_) {
    const index_t vectors = (columns + vector_length - 1) / vector_length;
    panels = (vectors + kMaxVectors - 1) / kMaxVectors;
    base_vectors = vectors / panels;
    wide_panels = vectors % panels;
  }

  PARMLP_INLINE index_t vectors(index_t panel) const { return base_vectors + (panel < wide_panels ? 1 : 0); }
  PARMLP_INLINE index_t width(index_t panel) const { return vectors(panel) * vector_length; }
  PARMLP_INLINE index_t first_column(index_t panel) const {
    return vector_length * (panel * base_vectors + (panel < wide_panels ? panel : wide_panels));
  }
  PARMLP_INLINE index_t padded_columns() const { return first_column(panels); }
  PARMLP_INLINE index_t size() const { return rows * padded_columns(); }
  PARMLP_INLINE index_t panel_of(index_t column) const {
    const index_t vector = column / vector_length;
    const index_t in_wide = wide_panels * (base_vectors + 1);
    return vector < in_wide ? vector / (base_vectors + 1) : wide_panels + (vector - in_wide) / base_vectors;
  }
  // Where element (row, column) lies.
  PARMLP_INLINE index_t offset(index_t row, index_t column) const {
    const index_t panel = panel_of(column);
    const index_t first = first_column(panel);
    return first * rows + row * width(panel) + (column - first);
  }
};

}  // namespace parmlp
