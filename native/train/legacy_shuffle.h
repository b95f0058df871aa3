// The row order of an epoch: NumPy's legacy shuffle, drawn from the same MT19937 stream.
//
// RandomState.shuffle holds the interpreter's lock (11 to 18 ms for 494,000 rows, 200 ms for 5 million), and
// workers that poll for signals would wait for it; this needs no lock.
#pragma once

#include <cstddef>
#include <cstdint>

namespace parmlp {

// The state of NumPy's MT19937: RandomState.get_state(legacy=False)["state"].
struct Mt19937 {
  static constexpr int kWords = 624;
  static constexpr int kMiddle = 397;
  std::uint32_t* key;  // (624,), changed in place
  int pos;             // words of the block already drawn, 0 to 624

  std::uint32_t next() {
    if (pos == kWords) refill();
    std::uint32_t y = key[pos++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }

 private:
  static std::uint32_t twist(std::uint32_t upper, std::uint32_t lower) {
    const std::uint32_t y = (upper & 0x80000000u) | (lower & 0x7fffffffu);
    return (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
  }

  void refill() {
    for (int i = 0; i < kWords; ++i)
      key[i] = key[(i + kMiddle) % kWords] ^ twist(key[i], key[(i + 1) % kWords]);
    pos = 0;
  }
};

// A uniform integer in 0..max by masked rejection, as NumPy's random_interval (max below 2^32).
inline std::uint32_t random_interval(Mt19937& random, std::uint32_t max) {
  std::uint32_t mask = max;
  mask |= mask >> 1;
  mask |= mask >> 2;
  mask |= mask >> 4;
  mask |= mask >> 8;
  mask |= mask >> 16;
  std::uint32_t value;
  do value = random.next() & mask;
  while (value > max);
  return value;
}

// Shuffles order (n,) in place, n at most 2^32. Shuffling the indices 0..n-1 and then taking
// order[indices], as sklearn.utils.shuffle does, swaps the same places: the result is the same.
inline void shuffle_order(Mt19937& random, std::int64_t* order, std::ptrdiff_t n) {
  for (std::ptrdiff_t i = n - 1; i >= 1; --i) {
    const std::uint32_t j = random_interval(random, static_cast<std::uint32_t>(i));
    const std::int64_t swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
}

}  // namespace parmlp
