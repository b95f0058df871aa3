// The one multiplication that forward, backward and weight gradients share.

namespace parmlp::PARMLP_TARGET {

// Rows of a register tile, by the number of vectors in the panel: as many independent sums as there are
// registers for (32 with AVX-512VL, 16 otherwise, of half the width in baseline).
#if defined(__AVX512VL__)
constexpr int kRegisterRows[4] = {0, 8, 8, 8};
#elif defined(__AVX2__)
constexpr int kRegisterRows[4] = {0, 8, 6, 4};
#else
constexpr int kRegisterRows[4] = {0, 4, 3, 2};
#endif

// The cache lines of some rows of x, one after another, to be fetched a few at a time between
// multiplications: asked for all at once they would fill the core's miss buffers and stall the loads of the
// arithmetic.
template <class T>
class LineStream {
 public:
  PARMLP_INLINE explicit LineStream(const UpcomingRows<T>& rows) : rows_(rows) { open_row(); }

  PARMLP_INLINE index_t count() const { return rows_.rows * ((rows_.features + kLine - 1) / kLine + 1); }
  // Spreads the lines over so many steps of depth.
  PARMLP_INLINE void pace(index_t depth) {
    const index_t steps = depth / count();
    steps_ = steps < 2 ? 2 : steps > 16 ? 16 : steps;
  }
  // Steps of depth between two lines.
  PARMLP_INLINE index_t steps() const { return steps_; }

  PARMLP_INLINE void fetch_next() {
    if (row_ == rows_.rows) return;
    __builtin_prefetch(at_, 0, 2);
    if (at_ == end_) {
      ++row_;
      open_row();
    } else {
      at_ = at_ + kLine < end_ ? at_ + kLine : end_;
    }
  }

 private:
  static constexpr index_t kLine = 64 / sizeof(T);

  PARMLP_INLINE void open_row() {
    if (row_ == rows_.rows) return;
    const index_t id = rows_.row_ids[row_];
    __builtin_prefetch(rows_.targets + id * rows_.target_bytes, 0, 2);
    at_ = rows_.x + id * rows_.features;
    end_ = at_ + rows_.features - 1;
  }

  UpcomingRows<T> rows_;
  index_t row_ = 0;
  const T* at_ = nullptr;
  const T* end_ = nullptr;  // the row's last element
  index_t steps_ = 2;
};

// sums[r][c] (+)= sum over k, ascending, of a[r * a_row + k * a_k] * b[k * b_k + c], for R rows and N
// vectors of columns. Each element is one chain of fused multiply-adds from zero, whatever the tile,
// so no choice of tile changes a bit, and blocks over k continue the chain through `sums`. With Bf16Pair a
// step of k is two.
template <class T, int R, int N, bool kFetch>
PARMLP_INLINE void multiply_registers(const T* a, index_t a_row, index_t a_k, const T* b, index_t b_k,
                                      index_t depth, Sum<T>* sums, index_t sums_stride, bool first,
                                      LineStream<Sum<T>>* lines) {
  using V = Vec<T>;
  using S = Vec<Sum<T>>;
  constexpr int kLength = Simd<T>::kLength;
  S acc[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 3
    for (int c = 0; c < N; ++c) {
      acc[r][c] = first ? S{} : load(sums + r * sums_stride + c * kLength);
    }
  }
  const index_t steps = kFetch ? lines->steps() : depth;
  for (index_t done = 0; done < depth; done += steps) {
    if constexpr (kFetch) lines->fetch_next();
    const index_t left = depth - done < steps ? depth - done : steps;
    for (index_t k = 0; k < left; ++k) {
      V bk[N];
#pragma GCC unroll 3
      for (int c = 0; c < N; ++c) bk[c] = load(b + c * kLength);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V ar = splat(a[r * a_row]);
#pragma GCC unroll 3
        for (int c = 0; c < N; ++c) acc[r][c] = fma(ar, bk[c], acc[r][c]);
      }
      a += a_k;
      b += b_k;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 3
    for (int c = 0; c < N; ++c) store(sums + r * sums_stride + c * kLength, acc[r][c]);
  }
}

// The operands of one product: a is read through two strides so that A^T needs no copy.
template <class T>
struct Product {
  const T* a;
  index_t a_row, a_k;
  const T* b;
  index_t b_k;
  index_t rows;
  index_t depth;
  LineStream<Sum<T>>* lines = nullptr;  // fetched meanwhile
};

template <class T, int N, bool kRowsContiguous, bool kFetch>
__attribute__((noinline)) static void multiply_block(const Product<T>& p, index_t first_row, int rows,
                                                     index_t first_k, index_t depth, Sum<T>* sums) {
  constexpr index_t kWidth = N * Simd<T>::kLength;
  // With the contiguous stride a constant, every broadcast is one address plus an offset.
  const index_t a_row = kRowsContiguous ? 1 : p.a_row;
  const index_t a_k = kRowsContiguous ? p.a_k : 1;
  const T* a = p.a + first_row * a_row + first_k * a_k;
  const T* b = p.b + first_k * p.b_k;
  Sum<T>* out = sums + first_row * kWidth;
  const bool first = first_k == 0;
  switch (rows) {
#define PARMLP_ROWS(R)                                                                                  \
  case R:                                                                                               \
    if constexpr (R <= kRegisterRows[N]) {                                                              \
      multiply_registers<T, R, N, kFetch>(a, a_row, a_k, b, p.b_k, depth, out, kWidth, first, p.lines); \
    }                                                                                                   \
    break;
    PARMLP_ROWS(1)
    PARMLP_ROWS(2)
    PARMLP_ROWS(3)
    PARMLP_ROWS(4)
    PARMLP_ROWS(5)
    PARMLP_ROWS(6)
    PARMLP_ROWS(7)
    PARMLP_ROWS(8)
#undef PARMLP_ROWS
  }
}

// Depth of one pass over a tile with several register tiles: the slice of B (24 KB at 256 rows of 96 bytes)
// stays in a 32 KB L1 while the rows go by.
constexpr index_t kDepthBlock = 256;

template <class T, int N>
PARMLP_INLINE void multiply_vectors(const Product<T>& p, Sum<T>* sums) {
  constexpr index_t kMost = kRegisterRows[N];
  // Balanced: 9 rows are 5 + 4, not 8 + 1.
  const index_t blocks = (p.rows + kMost - 1) / kMost;
  const index_t base = p.rows / blocks;
  const index_t larger = p.rows % blocks;
  const index_t step = blocks == 1 ? p.depth : kDepthBlock;
  for (index_t k = 0; k < p.depth; k += step) {
    const index_t depth = p.depth - k < step ? p.depth - k : step;
    index_t row = 0;
    for (index_t i = 0; i < blocks; ++i) {
      const index_t rows = base + (i < larger ? 1 : 0);
      if (p.a_row == 1) {
        multiply_block<T, N, true, false>(p, row, static_cast<int>(rows), k, depth, sums);
      } else if (p.lines) {
        multiply_block<T, N, false, true>(p, row, static_cast<int>(rows), k, depth, sums);
      } else {
        multiply_block<T, N, false, false>(p, row, static_cast<int>(rows), k, depth, sums);
      }
      row += rows;
    }
  }
}

// sums (rows, vectors * kLength) = A B for one panel. depth may be 0.
template <class T>
PARMLP_INLINE void multiply(const Product<T>& p, index_t vectors, Sum<T>* sums) {
  if (p.depth == 0) {
    for (index_t i = 0; i < p.rows * vectors * Simd<T>::kLength; ++i) sums[i] = 0;
    return;
  }
  switch (vectors) {
    case 1:
      return multiply_vectors<T, 1>(p, sums);
    case 2:
      return multiply_vectors<T, 2>(p, sums);
    default:
      return multiply_vectors<T, 3>(p, sums);
  }
}

}  // namespace parmlp::PARMLP_TARGET
