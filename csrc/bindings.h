// What both files of Python's door share: a layer as Python describes it, and the target that computes it.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "problem.h"
#include "targets.h"

namespace nb = nanobind;

namespace storyline {

void bind_packed(nb::module_& m);

using SequenceOf = std::tuple<uintptr_t, int64_t, int64_t>;
using RowsOf = std::tuple<uintptr_t, int64_t>;

template <class T> Sequence<T> sequence(const SequenceOf& s) {
  return {reinterpret_cast<T*>(std::get<0>(s)), std::get<1>(s), std::get<2>(s)};
}
template <class T> void rows(const std::vector<RowsOf>& from, Rows<T>* to) {
  for (size_t i = 0; i < from.size(); i++) to[i] = {reinterpret_cast<T*>(std::get<0>(from[i])), std::get<1>(from[i])};
}
template <class T> T* address(uintptr_t a) { return reinterpret_cast<T*>(a); }

struct Call {  // the arguments that both passes share
  int cell;
  std::array<int64_t, 5> sizes;
  bool reverse;
  int parts, threads;
  uintptr_t lengths;
  SequenceOf resets, input, output;
  std::vector<RowsOf> initial, fresh, last;
  int heads;
  std::array<uintptr_t, 5> weights;
  std::vector<uintptr_t> own;
  RowsOf mask;
  std::vector<SequenceOf> zoneout;
  std::array<uintptr_t, 4> kept;
};

template <class T> Problem<T> problem(const Call& call) {
  Problem<T> p{};
  std::tie(p.time, p.batch, p.input_size, p.hidden_size, p.output_size) = std::tuple_cat(call.sizes);
  p.reverse = call.reverse;
  p.parts = call.parts;
  p.threads = call.threads;
  p.lengths = address<const int64_t>(call.lengths);
  p.resets = sequence<const uint8_t>(call.resets);
  p.input = sequence<const T>(call.input);
  p.output = sequence<T>(call.output);
  rows(call.initial, p.initial);
  rows(call.fresh, p.fresh);
  rows(call.last, p.last);
  p.weight_ih = address<const T>(call.weights[0]);
  p.weight_hh = address<const T>(call.weights[1]);
  p.bias_ih = address<const T>(call.weights[2]);
  p.bias_hh = address<const T>(call.weights[3]);
  p.weight_hr = address<const T>(call.weights[4]);
  p.kept_gates = address<T>(call.kept[0]);
  p.kept_states = address<T>(call.kept[1]);
  p.kept_h = address<T>(call.kept[2]);
  p.kept_masked = address<T>(call.kept[3]);
  p.heads = call.heads;
  for (size_t i = 0; i < call.own.size(); i++) p.own[i] = address<const T>(call.own[i]);
  p.mask = {address<const T>(std::get<0>(call.mask)), std::get<1>(call.mask)};
  for (size_t i = 0; i < call.zoneout.size(); i++) p.zoneout[i] = sequence<const T>(call.zoneout[i]);
  return p;
}

}  // namespace storyline
