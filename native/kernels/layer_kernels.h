// Forward and backward through one layer, for a tile of rows.

namespace parmlp::PARMLP_TARGET {

// The sums of one tile and panel.
template <class T>
struct alignas(64) TileSums {
  T values[kMaxTileRows * PanelLayout::kMaxVectors * Simd<T>::kLength];
};

template <class T>
static void layer_forward(const LayerForward<T>& args) {
  constexpr int kLength = Simd<T>::kLength;
  TileSums<T> sums;
  for (index_t panel = args.first_panel; panel < args.end_panel; ++panel) {
    const index_t vectors = args.layout.vectors(panel);
    const index_t width = vectors * kLength;
    const index_t column = args.layout.first_column(panel);
    multiply<T>({.a = args.a,
                 .a_row = args.a_stride,
                 .a_k = 1,
                 .b = args.weights + column * args.layout.rows,
                 .b_k = width,
                 .rows = args.rows,
                 .depth = args.layout.rows},
                vectors, sums.values);
    with_activation(args.activation, args.slope, [&](auto activation) {
      for (index_t r = 0; r < args.rows; ++r) {
        for (index_t c = 0; c < width; c += kLength) {
          const Vec<T> z = load(sums.values + r * width + c) + load(args.bias + column + c);
          const index_t at = r * args.out_stride + column + c;
          if constexpr (activation.kNeedsZ) {
            if (args.z) store(args.z + at, z);
          }
          store(args.out + at, activation.value(z));
        }
      }
    });
  }
}

template <class T>
static void layer_backward(const LayerBackward<T>& args) {
  constexpr int kLength = Simd<T>::kLength;
  TileSums<T> sums;
  for (index_t panel = args.first_panel; panel < args.end_panel; ++panel) {
    const index_t vectors = args.layout.vectors(panel);
    const index_t width = vectors * kLength;
    const index_t column = args.layout.first_column(panel);
    multiply<T>({.a = args.delta,
                 .a_row = args.delta_stride,
                 .a_k = 1,
                 .b = args.transposed + column * args.layout.rows,
                 .b_k = width,
                 .rows = args.rows,
                 .depth = args.layout.rows},
                vectors, sums.values);
    with_activation(args.activation, args.slope, [&](auto activation) {
      for (index_t r = 0; r < args.rows; ++r) {
        for (index_t c = 0; c < width; c += kLength) {
          const index_t at = r * args.a_stride + column + c;
          const Vec<T> a = load(args.a + at);
          Vec<T> z = a;
          if constexpr (activation.kNeedsZ) z = load(args.z + at);
          const Vec<T> delta = load(sums.values + r * width + c) * activation.derivative(a, z);
          if (args.out) store(args.out + r * args.out_stride + column + c, delta);
          store(args.out_panels + column * args.panel_rows + (args.panel_row + r) * width + c, delta);
        }
      }
    });
  }
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
