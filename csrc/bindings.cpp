// Python's door. Addresses and strides come in as integers, checked by src/storyline/kernels/arguments.py; plain calls and
// the steps of a stream bring their tensors, which tensors.h checks (docs/decisions/0014). The engine of the widest target
// that this machine runs is picked. Built without torch and without an OpenMP runtime of its own:
// the symbols of OpenMP are those that torch has loaded, so that both share one pool of threads.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <pthread.h>

#include <atomic>

#include "engine.h"
#include "packed.h"
#include "short_scan.h"

namespace nb = nanobind;

namespace storyline {

#define TARGET(name)             \
  namespace name {               \
  const Engines& get();          \
  const AllPackers& packers();   \
  }
STORYLINE_TARGETS(TARGET)
#undef TARGET

namespace {

struct Target {
  const char* name;
  const Engines& (*get)();
  const AllPackers& (*packers)();
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
#define TARGET(name) {#name, name::get, name::packers, name},
      STORYLINE_TARGETS(TARGET)
#undef TARGET
  };
}

const Engines* engine = nullptr;
const AllPackers* packed = nullptr;
const char* engine_name = nullptr;

void choose(const std::string& wanted) {
  std::string known;
  for (const Target& target : targets()) {
    known += (known.empty() ? "" : ", ") + std::string(target.name) + (target.runs ? "" : " (not on this machine)");
    if (wanted.empty() ? target.runs : wanted == target.name) {
      if (!target.runs) break;
      engine = &target.get();
      packed = &target.packers();
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

template <class T> const Pass<T>& pass(int cell);
template <> const Pass<float>& pass(int cell) { return engine->of_float.of[cell]; }
template <> const Pass<double>& pass(int cell) { return engine->of_double.of[cell]; }

template <class T> int forward(const Call& call) {
  const Problem<T> p = problem<T>(call);
  nb::gil_scoped_release release;
  return pass<T>(call.cell).forward(p);
}

struct GradientCall {
  SequenceOf output;
  std::vector<RowsOf> last;
  SequenceOf input;
  std::vector<RowsOf> initial, fresh;
  std::array<uintptr_t, 5> weights;
  std::vector<uintptr_t> own;
};

template <class T> void backward(const Call& call, const GradientCall& gradient) {
  const Problem<T> p = problem<T>(call);
  Gradients<T> g{};
  g.output = sequence<const T>(gradient.output);
  rows(gradient.last, g.last);
  g.input = sequence<T>(gradient.input);
  rows(gradient.initial, g.initial);
  rows(gradient.fresh, g.fresh);
  g.weight_ih = address<T>(gradient.weights[0]);
  g.weight_hh = address<T>(gradient.weights[1]);
  g.bias_ih = address<T>(gradient.weights[2]);
  g.bias_hh = address<T>(gradient.weights[3]);
  g.weight_hr = address<T>(gradient.weights[4]);
  for (size_t i = 0; i < gradient.own.size(); i++) g.own[i] = address<T>(gradient.own[i]);
  nb::gil_scoped_release release;
  pass<T>(call.cell).backward(p, g);
}

// The arguments come as two tuples, in the order of Call and GradientCall.
using CallOf = std::tuple<int, std::array<int64_t, 5>, bool, int, int, uintptr_t, SequenceOf, SequenceOf, SequenceOf,
                          std::vector<RowsOf>, std::vector<RowsOf>, std::vector<RowsOf>, int,
                          std::array<uintptr_t, 5>, std::vector<uintptr_t>, RowsOf, std::vector<SequenceOf>,
                          std::array<uintptr_t, 4>>;
using GradientOf = std::tuple<SequenceOf, std::vector<RowsOf>, SequenceOf, std::vector<RowsOf>, std::vector<RowsOf>,
                              std::array<uintptr_t, 5>, std::vector<uintptr_t>>;

template <class To, class From> To made_of(From&& from) {
  return std::apply([](auto&&... each) { return To{std::move(each)...}; }, std::move(from));
}

template <class T> void passes(nb::module_& m, const char* forward_name, const char* backward_name) {
  m.def(forward_name, [](CallOf call) { return forward<T>(made_of<Call>(std::move(call))); });
  m.def(backward_name, [](CallOf call, GradientOf gradient) {
    backward<T>(made_of<Call>(std::move(call)), made_of<GradientCall>(std::move(gradient)));
  });
}

// A layer of a stream: input_size, the weights as in Call, the cell's own, the initial states, a row each.
using LayerOf = std::tuple<int64_t, std::array<uintptr_t, 5>, std::vector<uintptr_t>, std::vector<uintptr_t>>;

struct Stream {
  std::unique_ptr<AnyStream> steps;
  int bits;
  int64_t batch, input_size, h_size;
  std::atomic_flag busy{};  // a thread without Python's lock is in a step
  Stream(std::unique_ptr<AnyStream> made, int bits, int64_t batch, int64_t input_size, int64_t h_size)
      : steps(std::move(made)), bits(bits), batch(batch), input_size(input_size), h_size(h_size) {}
};

// sizes: batch, hidden_size, size of h, heads.
template <class T>
std::unique_ptr<Stream> stream(int cell, std::array<int64_t, 4> sizes, std::vector<LayerOf> layers,
                                  std::vector<double> zoneout, bool half) {
  std::vector<Problem<T>> problems;
  for (auto& [input_size, weights, own, initial] : layers) {
    Call call{};
    call.cell = cell;
    call.sizes = {1, sizes[0], input_size, sizes[1], sizes[2]};
    call.heads = int(sizes[3]);
    call.weights = weights;
    call.own = own;
    for (uintptr_t each : initial) call.initial.emplace_back(each, 0);
    problems.push_back(problem<T>(call));
  }
  return std::make_unique<Stream>(pass<T>(cell).stream(problems, zoneout, half), int(8 * sizeof(T)), sizes[0],
                                  problems[0].input_size, sizes[2]);
}

// Multiply-adds above which a step lets other Python threads run: getting the lock back from a busy one may take
// milliseconds, which a step of microseconds must not wait for.
constexpr int64_t worth_the_lock = 4'000'000;

// In a forked child the threads of OpenMP are gone, and waiting for them would never end.
bool forked = false;

AnyStream& idle(Stream& stream) {
  if (stream.busy.test())
    throw std::runtime_error("another thread is in a step of this stream; give each thread one of its own: stream.fork()");
  return *stream.steps;
}

void step(Stream& stream, uintptr_t x, uintptr_t y) {
  AnyStream& steps = idle(stream);
  if (steps.work() < worth_the_lock) return steps.step(address<const void>(x), address<void>(y), forked);
  stream.busy.test_and_set();  // nobody else can have: this thread still holds Python's lock
  {
    nb::gil_scoped_release release;
    steps.step(address<const void>(x), address<void>(y), forked);
  }
  stream.busy.clear();
}

// As above, of a tensor, and one is returned; None where x is not plainly (batch, input_size) or, of one sequence,
// (input_size,).
nb::object step_tensor(Stream& s, nb::handle x) {
  Seen seen;
  if (!tensors.known() || !tensors.see(x.ptr(), s.bits, seen) || !seen.dense() || tensors.requires_grad(x.ptr()))
    return nb::none();
  const bool whole = seen.has({s.batch, s.input_size});
  if (!whole && !(s.batch == 1 && seen.has({s.input_size}))) return nb::none();
  void* y = nullptr;
  PyObject* made = whole ? tensors.empty(s.bits, {s.batch, s.h_size}, &y) : tensors.empty(s.bits, {s.h_size}, &y);
  if (!made) throw nb::python_error();
  nb::object answer = nb::steal(made);
  step(s, reinterpret_cast<uintptr_t>(seen.data), reinterpret_cast<uintptr_t>(y));
  return answer;
}

template <class T> const Packers<T>& packers();
template <> const Packers<float>& packers() { return packed->of_float; }
template <> const Packers<double>& packers() { return packed->of_double; }

// A packed matrix, which nothing changes: any number of threads may multiply by it at once.
struct Projection {
  std::unique_ptr<AnyProjection> matrix;
};

template <class T>
std::unique_ptr<Projection> projection(int64_t N, int64_t K, uintptr_t weight, uintptr_t bias) {
  return std::make_unique<Projection>(packers<T>().projection(N, K, address<const T>(weight), address<const T>(bias)));
}

// Likewise, of a cell.
struct Step {
  std::unique_ptr<AnyStep> cell;
};

// sizes: input, hidden_size, size of h, heads.
template <class T>
std::unique_ptr<Step> packed_step(int cell, std::array<int64_t, 4> sizes, std::array<uintptr_t, 5> weights,
                                  std::vector<uintptr_t> own) {
  Call call{};
  call.sizes = {1, 1, sizes[0], sizes[1], sizes[2]};
  call.heads = int(sizes[3]);
  call.weights = weights;
  call.own = std::move(own);
  return std::make_unique<Step>(packers<T>().step[cell](problem<T>(call)));
}

// Numbers that the engine takes for rows, looked at here since it costs Python microseconds: each from `least` to `most`.
void within(const char* name, const int64_t* numbers, int64_t count, int64_t least, int64_t most) {
  for (int64_t i = 0; numbers && i < count; i++)
    if (numbers[i] < least || numbers[i] > most)
      throw nb::value_error((std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(numbers[i]) +
                             "; it must be from " + std::to_string(least) + " to " + std::to_string(most)).c_str());
}

// x, its stride; more, its stride, its rows, the row of it that each takes; the rows of the states before, the parent of each.
using ReadsOf = std::tuple<uintptr_t, int64_t, uintptr_t, int64_t, int64_t, uintptr_t, int64_t, uintptr_t>;

void step_of(const Step& step, int64_t rows, const ReadsOf& from, const std::vector<uintptr_t>& before,
             const std::vector<uintptr_t>& after, int threads) {
  const auto [x, x_stride, more, more_stride, more_rows, more_row, rows_before, parent] = from;
  const Reads reads{address<const void>(x),          x_stride, address<const void>(more), more_stride,
                    address<const int64_t>(more_row), address<const int64_t>(parent)};
  within("more_rows", more ? reads.more_row : nullptr, rows, 0, more_rows - 1);
  within("parents", reads.parent, rows, 0, rows_before - 1);
  std::array<const void*, most_states> was{};
  std::array<void*, most_states> is{};
  for (size_t i = 0; i < before.size(); i++) was[i] = address<const void>(before[i]), is[i] = address<void>(after[i]);
  nb::gil_scoped_release release;
  step.cell->step(rows, reads, was.data(), is.data(), threads);
}

// more, its stride, its rows, the row of it that each token takes, (batch, time); the output, its strides by batch and time.
using TableOf = std::tuple<uintptr_t, int64_t, int64_t, uintptr_t>;

void sentences_of(const Step& step, int64_t batch, int64_t time, uintptr_t lengths, const TableOf& from,
                  const SequenceOf& output, const std::vector<uintptr_t>& initial, const std::vector<uintptr_t>& last,
                  bool reverse, int threads) {
  const auto [more, more_stride, more_rows, more_row] = from;
  const auto [to, batch_stride, time_stride] = output;
  const Sentences all{time, batch, address<const int64_t>(lengths), address<const void>(more), more_stride,
                      address<const int64_t>(more_row), address<void>(to), batch_stride, time_stride, reverse};
  within("lengths", all.lengths, batch, 1, time);
  within("more_rows", all.more_row, batch * time, 0, more_rows - 1);
  std::array<const void*, most_states> first{};
  std::array<void*, most_states> after{};
  for (size_t i = 0; i < initial.size(); i++) first[i] = address<const void>(initial[i]), after[i] = address<void>(last[i]);
  nb::gil_scoped_release release;
  step.cell->sentences(all, first.data(), after.data(), threads);
}

// sizes: the sentences that there are, then, as the addresses, in the order of Asked.
template <class T> void attend(std::array<int64_t, 6> sizes, std::array<uintptr_t, 9> at, int threads) {
  const auto [any, sentences, width, source, size, read] = sizes;
  const Asked<T> asked{sentences, width, source, size, read, address<const T>(at[0]), address<const T>(at[1]),
                       address<const T>(at[2]), address<const T>(at[3]), address<const uint8_t>(at[4]),
                       address<const int64_t>(at[5]), address<const int64_t>(at[6]), address<T>(at[7]), address<T>(at[8]),
                       threads};
  within("sentences", asked.sentence, sentences, 0, any - 1);
  within("lengths of the source", asked.lengths, any, 1, source);
  nb::gil_scoped_release release;
  packers<T>().attend(asked);
}

// place: which row of both each is; 0: its own. Python makes them itself.
void product(const Projection& projection, int64_t rows, uintptr_t place, RowsOf x, RowsOf y, int threads) {
  nb::gil_scoped_release release;
  projection.matrix->product(rows, address<const int64_t>(place), address<const void>(std::get<0>(x)), std::get<1>(x),
                             address<void>(std::get<0>(y)), std::get<1>(y), threads);
}

void likeliest(const Projection& projection, int64_t rows, RowsOf x, int64_t count, int64_t end,
               const std::vector<int64_t>& barred, std::array<uintptr_t, 3> found, int threads) {
  const Wanted wanted{count, end, barred.data(), int64_t(barred.size())};
  nb::gil_scoped_release release;
  projection.matrix->likeliest(rows, address<const void>(std::get<0>(x)), std::get<1>(x), wanted, address<void>(found[0]),
                               address<int64_t>(found[1]), address<void>(found[2]), threads);
}

// A layer, and the precision that it was made for.
struct Scan {
  ShortScan scan;
  int cell;
  bool single;
};

std::unique_ptr<Scan> short_scan(int cell, bool single, std::array<int64_t, 4> sizes, bool bias, nb::object large) {
  const Layer layer{cell, single ? 32 : 64, sizes[0], sizes[1], sizes[2], sizes[3], bias};
  return std::make_unique<Scan>(ShortScan(layer, std::move(large)), cell, single);
}

nb::object short_forward(Scan& s, nb::handle input, nb::tuple weights, nb::handle initial, bool keep, int threads,
                         int64_t worth) {
  if (s.single) return s.scan.forward(pass<float>(s.cell), *engine, input, weights, initial, keep, threads, worth);
  return s.scan.forward(pass<double>(s.cell), *engine, input, weights, initial, keep, threads, worth);
}

nb::object short_backward(Scan& s, nb::handle input, nb::tuple weights, nb::handle kept, nb::tuple gradients,
                          bool wants_input, int threads, int64_t worth) {
  if (s.single) return s.scan.backward(pass<float>(s.cell), *engine, input, weights, kept, gradients, wants_input, threads,
                                        worth);
  return s.scan.backward(pass<double>(s.cell), *engine, input, weights, kept, gradients, wants_input, threads,
                                        worth);
}

}  // namespace
}  // namespace storyline

NB_MODULE(_native, m) {
  using namespace storyline;
  choose("");
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
  passes<float>(m, "forward_float", "backward_float");
  passes<double>(m, "forward_double", "backward_double");
  // A stream that lives as long as the interpreter is no leak to tell the user of.
  nb::set_leak_warnings(false);
  nb::class_<Stream>(m, "Stream")
      .def("step", step)
      .def("step_of", step_tensor, nb::arg().none())
      .def("read", [](Stream& stream, int state, uintptr_t to) { idle(stream).read(state, address<void>(to)); })
      .def("write", [](Stream& s, int state, uintptr_t from) { idle(s).write(state, address<const void>(from)); })
      .def("reset", [](Stream& stream, int64_t row) { idle(stream).reset(row); })
      .def("fork", [](Stream& s, int64_t batch) { 
        return std::make_unique<Stream>(s.steps->fork(batch), s.bits, batch, s.input_size, s.h_size);
      });
  m.def("learn_tensors", [](nb::handle tensor, nb::handle parameter, nb::handle capsule) {
    return tensors.learn(tensor.ptr(), parameter.ptr(), capsule.ptr());
  });
  nb::class_<Scan>(m, "Scan")
      .def("forward", short_forward, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg())
      .def("backward", short_backward);
  m.def("short_scan", short_scan);
  nb::class_<Projection>(m, "Projection").def("product", product).def("likeliest", likeliest);
  nb::class_<Step>(m, "Step").def("step", step_of).def("sentences", sentences_of);
  m.def("step_float", packed_step<float>);
  m.def("step_double", packed_step<double>);
  m.def("attend_float", attend<float>);
  m.def("attend_double", attend<double>);
  m.def("projection_float", projection<float>);
  m.def("projection_double", projection<double>);
  m.def("stream_float", stream<float>);
  m.def("stream_double", stream<double>);
  m.def("cells", [] {
    std::vector<std::tuple<std::string, int, int, int>> all;
    for (int i = 0; i < cell_count; i++) {
      const auto& pass = engine->of_float.of[i];
      all.emplace_back(cell_names[i], pass.columns, pass.extra, pass.states);
    }
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
