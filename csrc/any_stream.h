// What Python holds of a stream, whatever its cell, precision and target; see stream.h.
#pragma once
#include <cstdint>
#include <memory>

namespace storyline {

class AnyStream {
 public:
  virtual ~AnyStream() = default;
  // (batch, input_size) -> (batch, size of h), both dense. alone: on this thread, whatever the work.
  virtual void step(const void* x, void* y, bool alone) = 0;
  virtual void read(int state, void* to) const = 0;       // (layers, batch, size of this state), dense
  virtual void write(int state, const void* from) = 0;    // the same
  virtual void reset(int64_t row) = 0;                    // to the initial state
  virtual std::unique_ptr<AnyStream> fork(int64_t batch) const = 0;  // same weights, initial state
  virtual int64_t work() const = 0;                       // multiply-adds of a step
};

}  // namespace storyline
