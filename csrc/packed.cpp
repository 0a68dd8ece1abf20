// Packed weights in both precisions for one kind of machine: compiled once a target, beside engine.cpp.
#include "packed.h"

#include "attention.h"
#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/normalised.h"
#include "cells/rnn.h"
#include "cells/slstm.h"
#include "packed_step.h"
#include "projection.h"

namespace storyline::STORYLINE_TARGET {

template <class T> std::unique_ptr<AnyProjection> projection(int64_t N, int64_t K, const T* weight, const T* bias) {
  return std::make_unique<Projection<T>>(N, K, weight, bias);
}
template <class T, class Cell> std::unique_ptr<AnyStep> step(const Problem<T>& p) {
  return std::make_unique<PackedStep<T, Cell>>(p);
}
template <class T> constexpr Packers<T> packers_of() {
  return {projection<T>,
          {step<T, RnnTanh>, step<T, RnnRelu>, step<T, Lstm>, step<T, LstmPeephole>, step<T, LstmCoupled>,
           step<T, LstmLayerNorm>, step<T, Gru>, step<T, GruLayerNorm>, step<T, Slstm>},
          attend<T>};
}
static const AllPackers both = {packers_of<float>(), packers_of<double>()};
const AllPackers& packers() { return both; }

}  // namespace storyline::STORYLINE_TARGET
