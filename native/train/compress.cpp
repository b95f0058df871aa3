#include "train/compress.h"

#include <algorithm>

namespace parmlp {
namespace {

// Two phases over blocks of rows: count, then (the starts known) fill.
template <class T>
class CompressWork final : public PhasedWork {
 public:
  CompressWork(const T* x, CompressedRows<T>& out) : x_(x), out_(out) {}

  std::int64_t tiles() const override { return (out_.rows + kRows - 1) / kRows; }

  void run_tile(std::int64_t tile, int, StopCheck&) override {
    const index_t end = std::min((tile + 1) * kRows, out_.rows);
    for (index_t r = tile * kRows; r < end; ++r) {
      const T* row = x_ + r * out_.features;
      if (counting_) {
        index_t count = 0;
        for (index_t k = 0; k < out_.features; ++k) count += row[k] != 0;
        out_.starts[static_cast<std::size_t>(r) + 1] = count;
      } else {
        index_t at = out_.starts[static_cast<std::size_t>(r)];
        for (index_t k = 0; k < out_.features; ++k) {
          if (row[k] != 0) {
            out_.columns.data()[at] = static_cast<int>(k);
            out_.values.data()[at++] = row[k];
          }
        }
      }
    }
  }

  bool advance() override {
    if (!counting_) return false;
    counting_ = false;
    for (std::size_t r = 1; r < out_.starts.size(); ++r) out_.starts[r] += out_.starts[r - 1];
    out_.columns = AlignedBuffer<int>(out_.starts.back());
    out_.values = AlignedBuffer<T>(out_.starts.back());
    return true;
  }

 private:
  static constexpr index_t kRows = 256;

  const T* x_;
  CompressedRows<T>& out_;
  bool counting_ = true;
};

}  // namespace

template <class T>
CompressedRows<T> compress(const T* x, index_t rows, index_t features, Team& team) {
  CompressedRows<T> out;
  out.rows = rows;
  out.features = features;
  out.starts.assign(static_cast<std::size_t>(rows) + 1, 0);
  if (rows == 0) return out;
  CompressWork<T> work(x, out);
  std::vector<std::int64_t> tiles;
  int workers = 0;
  team.run(work, false, {}, tiles, workers);
  return out;
}

template CompressedRows<float> compress(const float*, index_t, index_t, Team&);
template CompressedRows<double> compress(const double*, index_t, index_t, Team&);

}  // namespace parmlp
