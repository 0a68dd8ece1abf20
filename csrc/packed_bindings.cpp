// Python's door to weights that are packed once and used often: projections, steps and attention of a search. Addresses and
// strides come in as integers, checked in src/storyline/kernels: projection.py, packed_step.py and additive_attention.py.
#include "bindings.h"

namespace storyline {
namespace {

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

}  // namespace

void bind_packed(nb::module_& m) {
  nb::class_<Projection>(m, "Projection").def("product", product).def("likeliest", likeliest);
  nb::class_<Step>(m, "Step").def("step", step_of).def("sentences", sentences_of);
  m.def("step_float", packed_step<float>);
  m.def("step_double", packed_step<double>);
  m.def("attend_float", attend<float>);
  m.def("attend_double", attend<double>);
  m.def("projection_float", projection<float>);
  m.def("projection_double", projection<double>);
}

}  // namespace storyline
