// A tile of rows: gathered, forward and backward through one layer.

namespace parmlp::PARMLP_TARGET {

// The sums of one tile and panel.
template <class T>
struct alignas(64) TileSums {
  T values[kMaxTileRows * PanelLayout::kMaxVectors * Simd<T>::kLength];
};

// Rows come in random order, so no hardware prefetcher sees the next ones coming: 4 KB ahead, a row at
// least.
PARMLP_INLINE index_t rows_ahead(index_t features) {
  const index_t near = 1024 / features < 1 ? 1 : 1024 / features;
  return near > 16 ? 16 : near;
}

template <class T>
PARMLP_INLINE void fetch_row(const Gather<T>& args, index_t row) {
  constexpr index_t kLine = 64 / sizeof(T);
  if (row >= args.rows + args.rows_to_come) return;
  const T* next = args.x + args.row_ids[row] * args.features;
  for (index_t k = 0; k < args.features; k += kLine) __builtin_prefetch(next + k);
  __builtin_prefetch(next + args.features - 1);
}

template <class T>
static void gather(const Gather<T>& args) {
  constexpr int kLength = Simd<T>::kLength;
  const index_t features = args.features;
  const index_t ahead = rows_ahead(features);
  for (index_t r = 0; r < args.rows; ++r) {
    fetch_row(args, r + ahead);
    const T* from = args.x + args.row_ids[r] * features;
    T* to = args.out + r * args.out_stride;
    if (features < kLength) {
      for (index_t k = 0; k < features; ++k) to[k] = from[k];
    } else {
      for (index_t k = 0; k + kLength <= features; k += kLength) store(to + k, load(from + k));
      store(to + features - kLength, load(from + features - kLength));
    }
  }
}

// Bias and activation of `rows` rows and `width` columns of sums.
template <class T>
PARMLP_INLINE void finish_forward(const LayerForward<T>& args, index_t first_row, index_t rows,
                                  index_t column, index_t width, const T* sums) {
  constexpr int kLength = Simd<T>::kLength;
  with_activation(args.activation, args.slope, [&](auto activation) {
    constexpr int kVectors = kGroup<decltype(activation)>;
    // Locals: for all the compiler knows the stores could change args.
    const T* const bias = args.bias + column;
    const index_t stride = args.out_stride;
    T* out = args.out + first_row * stride + column;
    T* z_out = args.z ? args.z + first_row * stride + column : nullptr;
    const T* const end = sums + rows * width;
    for (index_t c = 0; sums < end;) {
      // Past the end of the last group the sums are those of no row, and their values are dropped.
      Vec<T> z[kVectors];
      T* to[kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        z[i] = load(sums + i * kLength) + load(bias + c);
        to[i] = out + c;
        if constexpr (activation.kNeedsZ) {
          if (z_out) store(z_out + c, z[i]);
        }
        c += kLength;
        if (c == width) {
          c = 0;
          out += stride;
          if (z_out) z_out += stride;
        }
      }
      values(activation, z);
      for (int i = 0; i < kVectors && sums < end; ++i, sums += kLength) store(to[i], z[i]);
    }
  });
}

// a times some panels of b; finish(sums, column, width) takes each panel's sums (rows, width).
template <class E, class Finish>
PARMLP_INLINE void multiply_panels(const E* a, index_t a_stride, index_t rows, const E* b,
                                   const PanelLayout& layout, index_t first_panel, index_t end_panel,
                                   LineStream<Sum<E>>* lines, Finish finish) {
  TileSums<Sum<E>> sums;
  for (index_t panel = first_panel; panel < end_panel; ++panel) {
    const index_t column = layout.first_column(panel);
    const index_t width = layout.width(panel);
    multiply<E>({.a = a,
                 .a_row = a_stride,
                 .a_k = 1,
                 .b = b + column * layout.rows,
                 .b_k = width,
                 .rows = rows,
                 .depth = layout.rows,
                 .lines = lines && lines->count() > 0 ? lines : nullptr},
                layout.vectors(panel), sums.values);
    finish(sums.values, column, width);
  }
}

// The upcoming rows' lines, spread over the products of all panels.
template <class T>
PARMLP_INLINE LineStream<T> upcoming_lines(const LayerForward<T>& args) {
  LineStream<T> lines(args.upcoming);
  if (lines.count() > 0) {
    const index_t blocks = (args.rows + kRegisterRows[3] - 1) / kRegisterRows[3];
    lines.pace(args.layout.rows * (args.end_panel - args.first_panel) * blocks);
  }
  return lines;
}

template <class T>
static void layer_forward(const LayerForward<T>& args) {
  LineStream<T> lines = upcoming_lines(args);
  multiply_panels(
      args.a, args.a_stride, args.rows, args.weights, args.layout, args.first_panel, args.end_panel, &lines,
      [&](const T* sums, index_t column, index_t width)
          __attribute__((always_inline)) { finish_forward(args, 0, args.rows, column, width, sums); });
}

// The activation's derivative for one panel of sums.
template <class T>
PARMLP_INLINE void finish_backward(const LayerBackward<T>& args, index_t column, index_t width,
                                   const T* sums) {
  constexpr int kLength = Simd<T>::kLength;
  with_activation(args.activation, args.slope, [&](auto activation) {
    const index_t stride = args.a_stride, out_stride = args.out_stride;  // locals, as in finish_forward
    const T* a_row = args.a + column;
    const T* z_row = args.z ? args.z + column : nullptr;
    T* out = args.out ? args.out + column : nullptr;
    T* panel = args.out_panels + column * args.panel_rows + args.panel_row * width;
    for (index_t r = 0; r < args.rows; ++r) {
      for (index_t c = 0; c < width; c += kLength) {
        const Vec<T> a = load(a_row + c);
        Vec<T> z = a;
        if constexpr (activation.kNeedsZ) z = load(z_row + c);
        const Vec<T> delta = load(sums + c) * activation.derivative(a, z);
        if (out) store(out + c, delta);
        store(panel + c, delta);
      }
      sums += width;
      a_row += stride;
      if (z_row) z_row += stride;
      if (out) out += out_stride;
      panel += width;
    }
  });
}

template <class T>
static void layer_backward(const LayerBackward<T>& args) {
  multiply_panels(args.delta, args.delta_stride, args.rows, args.transposed, args.layout, args.first_panel,
                  args.end_panel, static_cast<LineStream<T>*>(nullptr),
                  [&](const T* sums, index_t column, index_t width)
                      __attribute__((always_inline)) { finish_backward(args, column, width, sums); });
}

template <class T>
static void activate(Activation activation, T slope, index_t n, const T* z, T* values, T* derivatives) {
  constexpr int kLength = Simd<T>::kLength;
  with_activation(activation, slope, [&](auto f) {
    for (index_t i = 0; i < n; i += kLength) {
      const index_t count = n - i < kLength ? n - i : kLength;
      Vec<T> in{};
      for (index_t lane = 0; lane < count; ++lane) in[lane] = z[i + lane];
      const Vec<T> a = f.value(in);
      const Vec<T> d = f.derivative(a, in);
      for (index_t lane = 0; lane < count; ++lane) {
        values[i + lane] = a[lane];
        derivatives[i + lane] = d[lane];
      }
    }
  });
}

}  // namespace parmlp::PARMLP_TARGET
