// Python's door: addresses and strides come in as integers, checked by src/storyline/kernels/cpu.py, and the engine of
// the widest target that this machine runs is picked. Built without torch and without an OpenMP runtime of its own:
// the symbols of OpenMP are those that torch has loaded, so that both share one pool of threads.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "engine.h"

namespace nb = nanobind;

namespace storyline {

#define TARGET(name)             \
  namespace name {               \
  const Engines& get();          \
  }
STORYLINE_TARGETS(TARGET)
#undef TARGET

namespace {

struct Target {
  const char* name;
  const Engines& (*get)();
  bool runs;
};

std::vector<Target> targets() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("x86-64-v2"), v3 = __builtin_cpu_supports("x86-64-v3"),
             v4 = __builtin_cpu_supports("x86-64-v4");
#else
  const bool neon = true;
#endif
  return {
#define TARGET(name) {#name, name::get, name},
      STORYLINE_TARGETS(TARGET)
#undef TARGET
  };
}

const Engines* engine = nullptr;
const char* engine_name = nullptr;

void choose(const std::string& wanted) {
  std::string known;
  for (const Target& target : targets()) {
    known += (known.empty() ? "" : ", ") + std::string(target.name) + (target.runs ? "" : " (not on this machine)");
    if (wanted.empty() ? target.runs : wanted == target.name) {
      if (!target.runs) break;
      engine = &target.get();
      engine_name = target.name;
      if (!wanted.empty()) return;
    }
  }
  if (!wanted.empty() || !engine)
    throw nb::value_error(("target is '" + wanted + "'; this build has " + known).c_str());
}

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
  std::array<uintptr_t, 5> weights;
  std::array<uintptr_t, 3> kept;
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
  return p;
}

template <class T> const Pass<T>& pass(int cell);
template <> const Pass<float>& pass(int cell) { return engine->of_float[cell]; }
template <> const Pass<double>& pass(int cell) { return engine->of_double[cell]; }

template <class T> void forward(const Call& call) {
  const Problem<T> p = problem<T>(call);
  nb::gil_scoped_release release;
  pass<T>(call.cell).forward(p);
}

template <class T>
void backward(const Call& call, const SequenceOf& output, const std::vector<RowsOf>& last, const SequenceOf& input,
              const std::vector<RowsOf>& initial, const std::vector<RowsOf>& fresh,
              const std::array<uintptr_t, 5>& weights) {
  const Problem<T> p = problem<T>(call);
  Gradients<T> g{};
  g.output = sequence<const T>(output);
  rows(last, g.last);
  g.input = sequence<T>(input);
  rows(initial, g.initial);
  rows(fresh, g.fresh);
  g.weight_ih = address<T>(weights[0]);
  g.weight_hh = address<T>(weights[1]);
  g.bias_ih = address<T>(weights[2]);
  g.bias_hh = address<T>(weights[3]);
  g.weight_hr = address<T>(weights[4]);
  nb::gil_scoped_release release;
  pass<T>(call.cell).backward(p, g);
}

template <class T> void passes(nb::module_& m, const char* forward_name, const char* backward_name) {
  m.def(forward_name, [](int cell, std::array<int64_t, 5> sizes, bool reverse, int parts, int threads,
                         uintptr_t lengths, SequenceOf resets, SequenceOf input, SequenceOf output,
                         std::vector<RowsOf> initial, std::vector<RowsOf> fresh, std::vector<RowsOf> last,
                         std::array<uintptr_t, 5> weights, std::array<uintptr_t, 3> kept) {
    forward<T>({cell, sizes, reverse, parts, threads, lengths, resets, input, output, std::move(initial),
                std::move(fresh), std::move(last), weights, kept});
  });
  m.def(backward_name,
        [](int cell, std::array<int64_t, 5> sizes, bool reverse, int parts, int threads, uintptr_t lengths,
           SequenceOf resets, SequenceOf input, SequenceOf output, std::vector<RowsOf> initial,
           std::vector<RowsOf> fresh, std::vector<RowsOf> last, std::array<uintptr_t, 5> weights,
           std::array<uintptr_t, 3> kept, SequenceOf output_gradient, std::vector<RowsOf> last_gradient,
           SequenceOf input_gradient, std::vector<RowsOf> initial_gradient, std::vector<RowsOf> fresh_gradient,
           std::array<uintptr_t, 5> weight_gradients) {
          backward<T>({cell, sizes, reverse, parts, threads, lengths, resets, input, output, std::move(initial),
                       std::move(fresh), std::move(last), weights, kept},
                      output_gradient, last_gradient, input_gradient, initial_gradient, fresh_gradient,
                      weight_gradients);
        });
}

}  // namespace
}  // namespace storyline

NB_MODULE(_native, m) {
  using namespace storyline;
  choose("");
  passes<float>(m, "forward_float", "backward_float");
  passes<double>(m, "forward_double", "backward_double");
  m.def("cells", [] {
    std::vector<std::tuple<std::string, int, int>> all;
    for (int i = 0; i < cell_count; i++)
      all.emplace_back(cell_names[i], engine->of_float[i].columns, engine->of_float[i].states);
    return all;
  });
  m.def("target", [] { return std::string(engine_name); });
  m.def("targets", [] {
    std::vector<std::tuple<std::string, bool>> all;
    for (const Target& target : targets()) all.emplace_back(target.name, target.runs);
    return all;
  });
  m.def("choose_target", choose);
  m.def("vector_bytes", [] { return engine->vector_bytes; });
  m.def("peak", [](int threads) {
    nb::gil_scoped_release release;
    return engine->peak(threads);
  });
}
