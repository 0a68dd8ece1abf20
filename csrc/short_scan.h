// A plain call of one layer in one direction, tensors in and tensors out, with one look at each: no lengths, resets,
// noise, projection or parameters of the cell's own. Whatever is not plainly as it should be is left to Python, by None.
// Legend: T time, B batch, I input size, H hidden size; widths as in packing.h.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "choice.h"
#include "engine.h"
#include "tensors.h"

namespace storyline {

inline Tensors tensors;  // of the torch that is loaded

// What Python says once of a layer.
struct Layer {
  int cell, bits;
  int64_t input_size, hidden_size, gates, heads;
  bool bias;
};

class ShortScan {
 public:
  // large(like, numbers): memory for what is too large to be asked of the system for each call.
  ShortScan(const Layer& layer, nanobind::object large)
      : l_(layer), large_(std::move(large)), zeros_(size_t(layer.hidden_size * layer.bits / 8)) {}

  // -> (output, last states (1, B, H), and with `keep` one buffer for the way back), or None. initial: states
  // (1, B, H), or None for zeros. worth: the multiply-adds from which on there are several threads.
  template <class T>
  nanobind::object forward(const Pass<T>& pass, const Engines& engine, nanobind::handle input, nanobind::tuple weights,
                           nanobind::handle initial, bool keep, int threads, int64_t worth) {
    Problem<T> p{};
    if (!describe(p, pass, input, weights, initial, threads, worth)) return nanobind::none();
    p.closely = one_row(p) && there_.together();
    double seconds = 0;
    Made made(3 + pass.states);
    T* output = made.add<T>(*this, input, {p.time, p.batch, p.hidden_size});
    p.output = {output, p.batch * p.hidden_size, p.hidden_size};
    for (int i = 0; i < pass.states; i++) p.last[i] = {made.add<T>(*this, input, {1, p.batch, p.hidden_size}), p.hidden_size};
    if (keep) {
      const Kept kept(p, pass, engine.vector_bytes);
      T* room = made.add<T>(*this, input, {kept.numbers()});
      kept.lay(p, room);
      int parts = 1;
      {
        nanobind::gil_scoped_release release;
        seconds = timed([&] { parts = pass.forward(p); });
        std::memcpy(output, p.output.data, size_t(p.time * p.batch * p.hidden_size) * sizeof(T));
      }
      room[kept.numbers() - 1] = T(parts);
    } else {
      Remembered now = remembered_;  // a copy, since other threads may call, too
      {
        nanobind::gil_scoped_release release;
        now.remember(p, pass, engine, l_.gates);
        p.packed = static_cast<const T*>(now.packed.get());
        seconds = timed([&] { pass.forward(p); });
      }
      remembered_ = std::move(now);
    }
    if (one_row(p)) there_.took(seconds / double(p.time));
    return made.tuple();
  }

  // gradients: of output and last states, each None or a tensor -> those of input (None if not wanted) and weights, or
  // None. kept is used up.
  template <class T>
  nanobind::object backward(const Pass<T>& pass, const Engines& engine, nanobind::handle input, nanobind::tuple weights,
                            nanobind::handle kept, nanobind::tuple gradients, bool wants_input, int threads, int64_t worth) {
    Problem<T> p{};
    if (!describe(p, pass, input, weights, nanobind::none(), threads, worth)) return nanobind::none();
    const Kept sizes(p, pass, engine.vector_bytes);
    Seen room, seen;
    if (!tensors.see(kept.ptr(), l_.bits, room) || !room.has({sizes.numbers()}) || !room.dense()) return nanobind::none();
    Gradients<T> g{};
    if (int(gradients.size()) != 1 + pass.states) return nanobind::none();
    for (int i = 0; i <= pass.states; i++) {
      nanobind::handle each = gradients[size_t(i)];
      if (each.is_none()) continue;
      const int64_t time = i == 0 ? p.time : 1;
      if (!tensors.see(each.ptr(), l_.bits, seen) || !seen.has({time, p.batch, p.hidden_size}) || !seen.dense(1))
        return nanobind::none();
      if (i == 0) g.output = {seen.as<const T>(), seen.stride(0), seen.stride(1)};
      else g.last[i - 1] = {seen.as<const T>(), seen.stride(1)};
    }
    sizes.lay(p, room.as<T>());
    p.parts = int(room.as<T>()[sizes.numbers() - 1]);
    Made made(1 + weights.size());
    if (wants_input) g.input = {made.add<T>(*this, input, {p.time, p.batch, p.input_size}), p.batch * p.input_size, p.input_size};
    else made.add_none();
    const int64_t rows = l_.gates * p.hidden_size;
    g.weight_ih = made.add<T>(*this, input, {rows, p.input_size});
    g.weight_hh = made.add<T>(*this, input, {rows, p.hidden_size / p.heads});
    if (l_.bias) g.bias_ih = made.add<T>(*this, input, {rows}), g.bias_hh = made.add<T>(*this, input, {rows});
    p.closely = one_row(p) && back_.together();
    double seconds = 0;
    {
      nanobind::gil_scoped_release release;
      seconds = timed([&] { pass.backward(p, g); });
    }
    if (one_row(p)) back_.took(seconds / double(p.time));
    return made.tuple();
  }

 private:
  // New tensors in the order of the answer; the memory of each is given back if a later one fails.
  class Made {
   public:
    explicit Made(size_t most) { all_.reserve(most); }
    template <class T> T* add(const ShortScan& scan, nanobind::handle like, std::initializer_list<int64_t> sizes) {
      void* data = nullptr;
      all_.push_back(scan.empty(like, sizes, &data));
      return static_cast<T*>(data);
    }
    void add_none() { all_.push_back(nanobind::none()); }
    nanobind::object tuple() {
      nanobind::object made = nanobind::steal(PyTuple_New(Py_ssize_t(all_.size())));
      if (!made.is_valid()) throw nanobind::python_error();
      for (size_t i = 0; i < all_.size(); i++) PyTuple_SET_ITEM(made.ptr(), Py_ssize_t(i), all_[i].release().ptr());
      return made;
    }

   private:
    std::vector<nanobind::object> all_;
  };

  // One buffer for all that the way back reads: gates, states beside h, h, and last the number of parts. h is kept
  // beside the output, so that the output may be written to in place.
  struct Kept {
    int64_t gates, states, h;
    template <class T> Kept(const Problem<T>& p, const Pass<T>& pass, int vector_bytes) {
      const int64_t lanes = vector_bytes / int64_t(sizeof(T)), slots = p.time * p.batch;
      auto padded = [&](int64_t size) { return (size + lanes - 1) / lanes * lanes; };
      gates = slots * (pass.columns * padded(p.hidden_size) + padded(pass.extra));
      states = slots * (pass.states - 1) * padded(p.hidden_size);
      h = padded(slots * p.hidden_size);
    }
    int64_t numbers() const { return gates + states + h + 1; }
    template <class T> void lay(Problem<T>& p, T* room) const {
      p.kept_gates = room;
      p.kept_states = room + gates;
      p.output = {room + gates + states, p.batch * p.hidden_size, p.hidden_size};
    }
  };

  // Weights that have been packed once. They are read anew each time to see whether they are the same still, which costs
  // a fraction of packing them; torch's count of versions knows nothing of what is written through `.data` or NumPy.
  struct Remembered {
    std::shared_ptr<void> packed;
    const Engines* engine = nullptr;
    Fingerprint ih, hh;

    template <class T> void remember(const Problem<T>& p, const Pass<T>& pass, const Engines& now, int64_t gates) {
      constexpr int64_t most_bytes = int64_t(64) << 20;
      const int64_t bytes = pass.packed_numbers(p) * int64_t(sizeof(T)), rows = gates * p.hidden_size;
      if (bytes > most_bytes) return packed.reset();
      const Fingerprint of_ih = now.fingerprint(p.weight_ih, rows * p.input_size * int64_t(sizeof(T))),
                        of_hh = now.fingerprint(p.weight_hh, rows * (p.hidden_size / p.heads) * int64_t(sizeof(T)));
      if (packed && engine == &now && of_ih == ih && of_hh == hh) return;
      void* memory = std::aligned_alloc(64, size_t((bytes + 63) / 64 * 64));
      if (!memory) throw std::bad_alloc();
      packed = std::shared_ptr<void>(memory, std::free);
      engine = &now, ih = of_ih, hh = of_hh;
      pass.pack(p, static_cast<T*>(memory));
    }
  };

  nanobind::object empty(nanobind::handle like, std::initializer_list<int64_t> sizes, void** data) const {
    constexpr int64_t least_bytes = 1 << 20;  // as in pool.py
    int64_t bytes = l_.bits / 8;
    for (int64_t size : sizes) bytes *= size;
    if (bytes < least_bytes) {
      PyObject* made = tensors.empty(l_.bits, sizes, data);
      if (!made) throw nanobind::python_error();
      return nanobind::steal(made);
    }
    nanobind::list shape;
    for (int64_t size : sizes) shape.append(size);
    nanobind::object made = large_(like, *nanobind::tuple(shape));
    *data = reinterpret_cast<void*>(nanobind::cast<uintptr_t>(made.attr("data_ptr")()));
    return made;
  }

  template <class T>
  bool describe(Problem<T>& p, const Pass<T>& pass, nanobind::handle input, nanobind::tuple weights,
                nanobind::handle initial, int threads, int64_t worth) {
    const int64_t I = l_.input_size, H = l_.hidden_size, rows = l_.gates * H;
    Seen x, w[4];
    if (!tensors.see(input.ptr(), l_.bits, x) || x.dimensions != 3 || x.shape[2] != I || !x.dense(1)) return false;
    if (x.shape[0] < 1 || x.shape[1] < 1 || weights.size() != (l_.bias ? 4 : 2)) return false;
    for (size_t i = 0; i < weights.size(); i++)
      if (!tensors.see(nanobind::handle(weights[i]).ptr(), l_.bits, w[i]) || !w[i].dense()) return false;
    if (!w[0].has({rows, I}) || !w[1].has({rows, H / l_.heads})) return false;
    if (l_.bias && (!w[2].has({rows}) || !w[3].has({rows}))) return false;
    p.time = x.shape[0], p.batch = x.shape[1], p.input_size = I, p.hidden_size = p.output_size = H;
    p.input = {x.as<const T>(), x.stride(0), x.stride(1)};
    p.heads = int(l_.heads);
    p.threads = p.time * p.batch * rows * (I + H / l_.heads) < worth ? 1 : threads;
    p.parts = int(std::min<int64_t>(p.threads, p.batch));
    p.weight_ih = w[0].as<const T>(), p.weight_hh = w[1].as<const T>();
    if (l_.bias) p.bias_ih = w[2].as<const T>(), p.bias_hh = w[3].as<const T>();
    if (initial.is_none()) {
      for (int i = 0; i < pass.states; i++) p.initial[i] = {reinterpret_cast<const T*>(zeros_.data()), 0};
      return true;
    }
    nanobind::tuple given = nanobind::borrow<nanobind::tuple>(initial);
    if (int(given.size()) != pass.states) return false;
    for (int i = 0; i < pass.states; i++) {
      Seen s;
      if (!tensors.see(nanobind::handle(given[size_t(i)]).ptr(), l_.bits, s) || !s.has({1, p.batch, H}) || !s.dense(1)) return false;
      p.initial[i] = {s.as<const T>(), s.stride(1)};
    }
    return true;
  }

  const Layer l_;
  nanobind::object large_;
  // One row is one part of the plan on any number of threads: of more, the order in which the weights' gradients are
  // summed up, and their last bits, would depend on the choice.
  template <class T> static bool one_row(const Problem<T>& p) { return p.batch == 1 && p.threads > 1; }
  template <class Work> static double timed(Work work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Remembered remembered_;
  Choice there_, back_;  // whether threads shall share each step of one row, by the time that a step takes
  std::vector<char> zeros_;  // a row of any state
};

}  // namespace storyline
