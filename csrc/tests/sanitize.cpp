// Both passes of every cell and all packed weights on random shapes, straight through the engines, for a build with
// sanitizers: every tensor is its own allocation of exactly its size, what must not be read holds NaN, and so does all
// memory that is handed over to be written. Fails where a sanitizer does, where a result is not finite, and where
// threads change a row's bits.
//
//     sanitize [shapes a target and cell] [seed]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../choice.h"
#include "../targets.h"

namespace storyline {
namespace {

struct Spec {  // of a cell; own: the sizes of its own parameters, in hidden sizes
  const char* name;
  int gates;
  std::vector<int> own;
  int heads = 1;
  bool biases = true;
};
const std::vector<Spec> specs = {
    {"rnn_tanh", 1, {}},
    {"rnn_relu", 1, {}},
    {"lstm", 4, {}},
    {"lstm_peephole", 4, {1, 1, 1}},
    {"lstm_coupled", 3, {}},
    {"lstm_layer_norm", 4, {4, 4, 4, 1, 1}, 1, false},
    {"gru", 3, {}},
    {"gru_layer_norm", 3, {3, 3, 3, 1}, 1, false},
    {"slstm", 4, {}, 4},
};

const Spec& spec_of(const std::string& name) {
  for (const Spec& spec : specs)
    if (name == spec.name) return spec;
  std::fprintf(stderr, "%s is a new cell: say its gates and own parameters in csrc/tests/sanitize.cpp\n", name.c_str());
  std::exit(2);
}

std::mt19937_64 dice;
int64_t draw(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(dice); }

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Rows of `size` numbers, strides with gaps, beginning at the first or second number of an allocation that ends with
// the last row.
template <class T> struct Tensor {
  std::vector<T> memory;
  int64_t time = 0, rows = 0, size = 0, time_stride = 0, row_stride = 0, first = 0;

  Tensor() = default;
  Tensor(int64_t time, int64_t rows, int64_t size) : time(time), rows(rows), size(size) {
    const int64_t gap = draw(0, 1) * draw(1, 5);
    const bool rows_first = draw(0, 1);
    row_stride = rows_first ? time * (size + gap) : size + gap;
    time_stride = rows_first ? size + gap : rows * (size + gap);
    first = draw(0, 1);
    memory.assign(first + (time - 1) * time_stride + (rows - 1) * row_stride + size, T(nan));
  }
  T* data() { return memory.data() + first; }
  T* at(int64_t t, int64_t r) { return data() + t * time_stride + r * row_stride; }
  Tensor& fill(double low, double high) {
    for (int64_t t = 0; t < time; t++)
      for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < size; i++) at(t, r)[i] = T(std::uniform_real_distribution<>(low, high)(dice));
    return *this;
  }
  void spoil(int64_t t, int64_t r) { std::fill_n(at(t, r), size, T(nan)); }
  bool finite() {
    for (int64_t t = 0; t < time; t++)
      for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < size; i++)
          if (!std::isfinite(at(t, r)[i])) return false;
    return true;
  }
  template <class S> operator Sequence<S>() { return {data(), time_stride, row_stride}; }
  template <class S> operator Rows<S>() { return {data(), row_stride}; }
};

template <class T> std::vector<T> numbers(int64_t count, double scale) {
  std::vector<T> all(count);
  for (T& each : all) each = T(std::uniform_real_distribution<>(-scale, scale)(dice));
  return all;
}
template <class T> std::vector<T> unwritten(int64_t count) { return std::vector<T>(count, T(nan)); }
template <class T> T* address(std::vector<T>& v) { return v.empty() ? nullptr : v.data(); }

template <class T> bool same(Tensor<T>& a, Tensor<T>& b) {
  for (int64_t t = 0; t < a.time; t++)
    for (int64_t r = 0; r < a.rows; r++)
      if (!std::equal(a.at(t, r), a.at(t, r) + a.size, b.at(t, r))) return false;
  return true;
}

#define HOLD(what)                                                     \
  if (!(what)) {                                                       \
    std::fprintf(stderr, "%s: %s is not so\n", told.c_str(), #what);   \
    std::exit(1);                                                      \
  }

struct Sizes {
  int64_t time, batch, input, hidden, h, rows;  // rows: of weight_ih
  bool ragged, cut, masked, zoned, reverse, wants_input;

  Sizes(const Spec& spec, bool big) {
    time = draw(1, big ? 60 : 9), batch = draw(1, big ? 40 : 9), input = draw(1, big ? 300 : 40);
    hidden = (draw(1, big ? 140 : 40) + spec.heads - 1) / spec.heads * spec.heads;
    h = std::string(spec.name) == "lstm" && draw(0, 1) ? draw(1, hidden) : hidden;
    rows = spec.gates * hidden;
    ragged = draw(0, 1), cut = draw(0, 1), masked = !draw(0, 2), zoned = !draw(0, 2), reverse = draw(0, 1);
    wants_input = draw(0, 3);
  }
  bool projected() const { return h != hidden; }
  int64_t of_state(int i) const { return i == 0 ? h : hidden; }
  std::string told() const {
    return " time " + std::to_string(time) + " batch " + std::to_string(batch) + " input " + std::to_string(input) +
           " hidden " + std::to_string(hidden) + " h " + std::to_string(h);
  }
};

// What is read: drawn once, NaN in the padding.
template <class T> struct Given {
  std::vector<int64_t> lengths;
  std::vector<uint8_t> resets;
  Tensor<T> input, dy, mask;
  std::vector<Tensor<T>> initial, fresh, of_last, zoneout;
  std::vector<std::vector<T>> weights, own;  // weight_ih, weight_hh, bias_ih, bias_hh, weight_hr; empty for none

  Given(const Sizes& s, const Spec& spec, int states)
      : lengths(s.batch, s.time), resets(s.time * s.batch), input(s.time, s.batch, s.input), dy(s.time, s.batch, s.h),
        mask(1, s.batch, s.h) {
    input.fill(-1, 1), dy.fill(-1, 1), mask.fill(0, 2);
    for (int64_t b = 0; b < s.batch; b++) {
      if (s.ragged) lengths[b] = draw(1, s.time);
      for (int64_t t = lengths[b]; t < s.time; t++) input.spoil(t, b), dy.spoil(t, b);
    }
    for (uint8_t& each : resets) each = draw(0, 4) == 0;
    for (int i = 0; i < states; i++) {
      initial.push_back(Tensor<T>(1, s.batch, s.of_state(i)).fill(0.5, 1));
      fresh.push_back(Tensor<T>(1, s.batch, s.of_state(i)).fill(0.5, 1));
      of_last.push_back(Tensor<T>(1, s.batch, s.of_state(i)).fill(-1, 1));
      zoneout.push_back(Tensor<T>(s.time, s.batch, s.of_state(i)).fill(0, 1));
    }
    const int64_t biases = spec.biases && draw(0, 3) ? s.rows : 0;
    const double scale = 1 / std::sqrt(double(s.hidden));
    const int64_t projection = s.projected() ? s.h * s.hidden : 0;
    for (int64_t count : {s.rows * s.input, s.rows * s.h / spec.heads, biases, biases, projection})
      weights.push_back(numbers<T>(count, scale));
    for (int times : spec.own) own.push_back(numbers<T>(times * s.hidden, 1));
  }
};

// What is written: NaN before.
template <class T> struct Written {
  Tensor<T> output, of_input;
  std::vector<Tensor<T>> last, of_initial, of_fresh;
  std::vector<std::vector<T>> of_weights, of_own, kept;

  Written(const Sizes& s, const Given<T>& given, const Pass<T>& pass, int64_t lanes)
      : output(s.time, s.batch, s.h), of_input(s.time, s.batch, s.input) {
    for (int i = 0; i < pass.states; i++) {
      last.emplace_back(1, s.batch, s.of_state(i));
      of_initial.emplace_back(1, s.batch, s.of_state(i));
      of_fresh.push_back(Tensor<T>(1, s.batch, s.of_state(i)).fill(0, 0));  // added to
    }
    for (auto& each : given.weights) of_weights.push_back(unwritten<T>(int64_t(each.size())));
    for (auto& each : given.own) of_own.push_back(unwritten<T>(int64_t(each.size())));
    auto padded = [&](int64_t n) { return (n + lanes - 1) / lanes * lanes; };
    const int64_t wide = padded(s.hidden);
    for (int64_t width : {pass.columns * wide + padded(pass.extra), (pass.states - 1) * wide, s.projected() ? wide : 0,
                          s.masked ? std::max(wide, padded(s.h)) : 0})
      kept.push_back(unwritten<T>(s.time * s.batch * width));
  }

  void hold_finite(const Sizes& s, const std::string& told) {
    HOLD(output.finite());
    if (s.wants_input) HOLD(of_input.finite());
    for (auto* tensors : {&last, &of_initial, &of_fresh})
      for (auto& each : *tensors) HOLD(each.finite());
    for (auto* vectors : {&of_weights, &of_own})
      for (auto& each : *vectors)
        for (T number : each) HOLD(std::isfinite(number));
  }
};

template <class T> Problem<T> problem(const Sizes& s, const Spec& spec, Given<T>& given, Written<T>& to, int threads) {
  Problem<T> p{};
  p.time = s.time, p.batch = s.batch, p.input_size = s.input, p.hidden_size = s.hidden, p.output_size = s.h;
  p.reverse = s.reverse, p.threads = threads, p.parts = int(std::min<int64_t>(threads, s.batch)), p.heads = spec.heads;
  p.closely = true;
  p.lengths = s.ragged ? given.lengths.data() : nullptr;
  if (s.cut) p.resets = {given.resets.data(), s.batch, 1};
  p.input = given.input, p.output = to.output;
  for (size_t i = 0; i < given.initial.size(); i++) {
    p.initial[i] = given.initial[i], p.last[i] = to.last[i];
    if (s.cut) p.fresh[i] = given.fresh[i];
    if (s.zoned) p.zoneout[i] = given.zoneout[i];
  }
  if (s.masked) p.mask = given.mask;
  p.weight_ih = address(given.weights[0]), p.weight_hh = address(given.weights[1]);
  p.bias_ih = address(given.weights[2]), p.bias_hh = address(given.weights[3]), p.weight_hr = address(given.weights[4]);
  for (size_t i = 0; i < given.own.size(); i++) p.own[i] = address(given.own[i]);
  return p;
}

template <class T> Gradients<T> gradients(const Sizes& s, Given<T>& given, Written<T>& to) {
  Gradients<T> g{};
  g.output = given.dy;
  if (s.wants_input) g.input = to.of_input;
  for (size_t i = 0; i < given.initial.size(); i++) {
    g.last[i] = given.of_last[i], g.initial[i] = to.of_initial[i];
    if (s.cut) g.fresh[i] = to.of_fresh[i];
  }
  g.weight_ih = address(to.of_weights[0]), g.weight_hh = address(to.of_weights[1]);
  g.bias_ih = address(to.of_weights[2]), g.bias_hh = address(to.of_weights[3]), g.weight_hr = address(to.of_weights[4]);
  for (size_t i = 0; i < to.of_own.size(); i++) g.own[i] = address(to.of_own[i]);
  return g;
}

template <class T> void one(const Engines& engines, const Pass<T>& pass, const Spec& spec, std::string told, bool big) {
  const Sizes s(spec, big);
  told += s.told();
  const int64_t lanes = engines.vector_bytes / int64_t(sizeof(T));
  Given<T> given(s, spec, pass.states);
  std::vector<Written<T>> of_threads;
  for (int threads : {1, 3}) {
    Written<T> free(s, given, pass, lanes), kept(s, given, pass, lanes);
    pass.forward(problem(s, spec, given, free, threads));
    Problem<T> p = problem(s, spec, given, kept, threads);
    p.kept_gates = address(kept.kept[0]), p.kept_states = address(kept.kept[1]), p.kept_h = address(kept.kept[2]);
    p.kept_masked = address(kept.kept[3]);
    p.parts = pass.forward(p);  // of the way there, by which all that was kept is laid out
    pass.backward(p, gradients(s, given, kept));
    kept.hold_finite(s, told);
    HOLD(same(free.output, kept.output));
    Written<T> again(s, given, pass, lanes);
    Problem<T> q = problem(s, spec, given, again, threads);
    std::vector<T> packed = unwritten<T>(pass.packed_numbers(q));
    pass.pack(q, packed.data());
    q.packed = packed.data();
    pass.forward(q);
    HOLD(same(free.output, again.output));
    of_threads.push_back(std::move(kept));
  }
  HOLD(same(of_threads[0].output, of_threads[1].output));
  if (s.wants_input) HOLD(same(of_threads[0].of_input, of_threads[1].of_input));
}

// Together for as long as that is the faster way, alone after a stall, and then together again.
void choice() {
  const std::string told = "choice";
  Choice choice;
  auto steps = [&](int count, double seconds, bool together) {
    for (int i = 0; i < count; i++) {
      HOLD(choice.together() == together);
      choice.took(seconds);
    }
  };
  steps(4, 1, false);
  steps(1000, 0.6, true);
  steps(1, 100, true);
  steps(64, 1, false);
  steps(8, 1.1, true);
  steps(128, 1, false);
  steps(1000, 0.6, true);
}

}  // namespace
}  // namespace storyline

#include "packed_shapes.h"

namespace storyline {
namespace {

void target(const char* name, const Engines& engines, const AllPackers& packers, bool runs, int shapes) {
  if (!runs) return void(std::printf("%s: not on this machine\n", name));
  for (int cell = 0; cell < cell_count; cell++)
    for (int shape = 0; shape < shapes; shape++) {
      const std::string told = std::string(name) + " " + cell_names[cell] + " shape " + std::to_string(shape);
      const bool big = shape % 16 == 15;
      one<float>(engines, engines.of_float.of[cell], spec_of(cell_names[cell]), told + " float", big);
      one<double>(engines, engines.of_double.of[cell], spec_of(cell_names[cell]), told + " double", big);
      const Spec& spec = spec_of(cell_names[cell]);
      one_step<float>(engines.of_float.of[cell], packers.of_float, cell, spec, told + " step float", big);
      one_step<double>(engines.of_double.of[cell], packers.of_double, cell, spec, told + " step double", big);
      one_continued<float>(engines.of_float.of[cell], packers.of_float, cell, spec, told + " continued float", big);
      one_continued<double>(engines.of_double.of[cell], packers.of_double, cell, spec, told + " continued double", big);
      one_of_sentences<float>(engines.of_float.of[cell], packers.of_float, cell, spec, told + " sentences float", big);
      one_of_sentences<double>(engines.of_double.of[cell], packers.of_double, cell, spec, told + " sentences double", big);
      one_attention<float>(packers.of_float, told + " attention float", big);
      one_attention<double>(packers.of_double, told + " attention double", big);
      one_projection<float>(packers.of_float, told + " projection float", big);
      one_projection<double>(packers.of_double, told + " projection double", big);
    }
  std::printf("%s: %d cells, %d shapes each, in both precisions\n", name, cell_count, shapes);
}

}  // namespace
}  // namespace storyline

int main(int count, char** arguments) {
  using namespace storyline;
  const int shapes = count > 1 ? std::atoi(arguments[1]) : 64;
  dice.seed(count > 2 ? std::atoi(arguments[2]) : 0);
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("x86-64-v2"), v3 = __builtin_cpu_supports("x86-64-v3"),
             v4 = __builtin_cpu_supports("x86-64-v4");
#else
  const bool neon = true;
#endif
  choice();
#define TARGET(name) target(#name, name::get(), name::packers(), name, shapes);
  STORYLINE_TARGETS(TARGET)
#undef TARGET
}
