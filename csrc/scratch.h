// Memory that a thread keeps from call to call: the first touch of a fresh page costs more than all that is done
// on it here.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace storyline {

class Scratch {
 public:
  ~Scratch() {
    allow(memory_, size_);
    std::free(memory_);
  }

  // Room for all that will be taken until the next start.
  void start(int64_t bytes) {
    used_ = 0;
    bytes += gaps;
    allow(memory_, size_);
    const bool wasteful = size_ > kept_at_most && bytes < size_ / 4;
    if (bytes > size_ || wasteful) {
      std::free(memory_);
      size_ = 0;
      memory_ = static_cast<char*>(std::aligned_alloc(64, size_t(rounded(bytes))));
      if (!memory_) throw std::bad_alloc();
      size_ = rounded(bytes);
    }
    forbid(memory_, size_);
  }

  template <class T> T* take(int64_t count) {
    T* p = reinterpret_cast<T*>(memory_ + used_);
    allow(p, count * int64_t(sizeof(T)));
    used_ += rounded(count * int64_t(sizeof(T))) + gap;
    return p;
  }

  static int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  // Between two that are taken lies a gap that must not be touched, and what is taken is full of NaN.
  static constexpr int64_t gap = 64, gaps = 32 * gap;
  static void allow(void* from, int64_t bytes) { __asan_unpoison_memory_region(from, size_t(bytes)); }
  static void forbid(void* from, int64_t bytes) {
    std::memset(from, 0xff, size_t(bytes));
    __asan_poison_memory_region(from, size_t(bytes));
  }
#else
  static constexpr int64_t gap = 0, gaps = 0;
  static void allow(void*, int64_t) {}
  static void forbid(void*, int64_t) {}
#endif
  static constexpr int64_t kept_at_most = int64_t(64) << 20;
  char* memory_ = nullptr;
  int64_t size_ = 0, used_ = 0;
};

}  // namespace storyline
