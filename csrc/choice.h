// Alone or together: what is done again and again by one thread, or by several that wait for each other, is done in the
// way that takes less time. Together is slower where the others' cores have other work, of which nobody tells, or where
// they have gone to sleep between two calls.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

namespace storyline {

class Choice {
 public:
  bool together() const { return alone_left_ == 0; }

  // Does `work(together())` and draws its conclusions from the time that it takes.
  template <class Work> void time(Work work) {
    const auto start = std::chrono::steady_clock::now();
    work(together());
    took(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  void took(double seconds) {
    if (alone_left_ > 0) {
      alone_ = std::min(alone_, seconds);
      if (--alone_left_ == 0) slow_ = 0;
      return;
    }
    if (seconds < alone_) {
      slow_ = std::max(slow_ - 1, 0);
      if (++fast_ >= most_rest) rest_ = least_rest;
    } else {
      slow_ += seconds > stalled * alone_ ? too_slow : 1;
    }
    if (slow_ < too_slow) return;
    alone_left_ = rest_, rest_ = std::min(2 * rest_, most_rest), fast_ = 0;
    alone_ = std::numeric_limits<double>::infinity();
  }

 private:
  static constexpr int first_rest = 4, least_rest = 64, most_rest = 1 << 16;  // calls alone, before the next attempt
  static constexpr int too_slow = 8, stalled = 8;  // calls in excess of fast ones; times as long as alone
  int alone_left_ = first_rest, rest_ = least_rest, slow_ = 0, fast_ = 0;
  double alone_ = std::numeric_limits<double>::infinity();
};

}  // namespace storyline
