// Zeroed memory for kernels: cache-line aligned, in huge pages where it is large.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "network/functions.h"

namespace parmlp {

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(index_t size) : size_(size) {
    if (size == 0) return;
    if (size < 0 || static_cast<std::size_t>(size) > (std::size_t{1} << 47) / sizeof(T)) {
      throw std::bad_alloc();
    }
    // Rows of wide layers lie a page apart; with 4 KB pages every step of A^T D misses the TLB.
    constexpr std::size_t kHugePage = std::size_t{1} << 21;
    std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
    const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    data_ = static_cast<T*>(std::aligned_alloc(alignment, bytes));
    if (!data_) throw std::bad_alloc();
    if (alignment == kHugePage) madvise(data_, bytes, MADV_HUGEPAGE);
    std::memset(data_, 0, bytes);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedBuffer() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void zero() {
    if (data_) std::memset(data_, 0, static_cast<std::size_t>(size_) * sizeof(T));
  }
  void copy_from(const AlignedBuffer& other) {
    if (data_) std::memcpy(data_, other.data_, static_cast<std::size_t>(size_) * sizeof(T));
  }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace parmlp
