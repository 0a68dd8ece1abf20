// Memory that a thread keeps from call to call: the first touch of a fresh page costs more than all that is done
// on it here.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>

namespace storyline {

class Scratch {
 public:
  ~Scratch() { std::free(memory_); }

  // Room for all that will be taken until the next start.
  void start(int64_t bytes) {
    used_ = 0;
    const bool wasteful = size_ > kept_at_most && bytes < size_ / 4;
    if (bytes <= size_ && !wasteful) return;
    std::free(memory_);
    size_ = 0;
    memory_ = static_cast<char*>(std::aligned_alloc(64, size_t(rounded(bytes))));
    if (!memory_) throw std::bad_alloc();
    size_ = rounded(bytes);
  }

  template <class T> T* take(int64_t count) {
    T* p = reinterpret_cast<T*>(memory_ + used_);
    used_ += rounded(count * int64_t(sizeof(T)));
    return p;
  }

  static int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  static constexpr int64_t kept_at_most = int64_t(64) << 20;
  char* memory_ = nullptr;
  int64_t size_ = 0, used_ = 0;
};

}  // namespace storyline
