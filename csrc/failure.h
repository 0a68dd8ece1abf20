// An exception that left a parallel region would end the process: the first one is kept until after it.
#pragma once
#include <exception>

namespace storyline {

class Failure {
 public:
  // Does `work`; what it throws is raised later. Safe in many threads at once.
  template <class Work> void keep(Work work) noexcept {
    try {
      work();
    } catch (...) {
#pragma omp critical(storyline_failure)
      if (!first_) first_ = std::current_exception();
    }
  }
  // To be asked between two barriers.
  bool happened() const { return bool(first_); }
  // To be called behind the parallel region.
  void raise() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
};

}  // namespace storyline
