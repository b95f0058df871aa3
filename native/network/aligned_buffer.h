// Zeroed memory for kernels: cache-line aligned, in huge pages where it is large.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "network/functions.h"

namespace parmlp {

// Says how much was asked for.
class AllocationError : public std::bad_alloc {
 public:
  explicit AllocationError(index_t bytes)
      : text_("could not allocate " + std::to_string(bytes) + " bytes; use a smaller network or batch_size") {
  }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(index_t size) : size_(size) {
    if (size == 0) return;
    const index_t bytes = size * static_cast<index_t>(sizeof(T));
    // Rows of wide layers lie a page apart; with 4 KB pages every step of A^T D misses the TLB.
    constexpr std::size_t kHugePage = std::size_t{1} << 21;
    if (static_cast<std::size_t>(bytes) < kHugePage) {
      const std::size_t padded = (static_cast<std::size_t>(bytes) + 63) / 64 * 64;
      data_ = static_cast<T*>(std::aligned_alloc(64, padded));
      if (!data_) throw AllocationError(bytes);
      std::memset(data_, 0, padded);
      return;
    }
    // Fresh pages are zero already, and are made when a tile first touches them: a large minibatch's
    // buffers appear in parallel, and Ctrl-C is heard meanwhile.
    mapped_ = static_cast<std::size_t>(bytes) + kHugePage;
    mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) {
      mapping_ = nullptr;
      throw AllocationError(bytes);
    }
    const auto address = (reinterpret_cast<std::uintptr_t>(mapping_) + kHugePage - 1) / kHugePage * kHugePage;
    data_ = reinterpret_cast<T*>(address);
    madvise(data_, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedBuffer() {
    if (mapping_) {
      munmap(mapping_, mapped_);
    } else {
      std::free(data_);
    }
  }

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
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_, other.mapped_);
  }

  T* data_ = nullptr;
  index_t size_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace parmlp
