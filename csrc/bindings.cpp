// Python's door to the passes and the streams; packed_bindings.cpp is that to what decoding keeps packed. Addresses and
// strides come in as integers, checked by src/storyline/kernels/arguments.py; plain calls and the steps of a stream bring
// their tensors, which tensors.h checks (docs/decisions/0014). The engine of the widest target that this machine runs is
// picked. Built without torch and without an OpenMP runtime of its own:
// the symbols of OpenMP are those that torch has loaded, so that both share one pool of threads.
#include <pthread.h>

#include <atomic>

#include "bindings.h"
#include "short_scan.h"

namespace storyline {

namespace {

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
  bind_packed(m);
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
