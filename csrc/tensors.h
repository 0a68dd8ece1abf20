// torch's tensors as C++ sees them, by DLPack's table of functions: reading one in place costs nanoseconds, where each
// attribute that Python asks for costs about a tenth of a microsecond. Only what is plainly as a kernel wants it is
// seen; whoever gets `false` goes the way through Python, which lays it out or says what is wrong with it.
#pragma once
#include <Python.h>

#include <cstdlib>
#include <initializer_list>

#include "dlpack.h"

namespace storyline {

struct Seen {
  void* data;
  int dimensions;
  const int64_t *shape, *strides;
  template <class T> T* as() const { return static_cast<T*>(data); }

  bool has(std::initializer_list<int64_t> wanted) const {
    if (int64_t(wanted.size()) != dimensions) return false;
    int i = 0;
    for (int64_t size : wanted)
      if (shape[i++] != size) return false;
    return true;
  }
  // Its last `some` dimensions lie in memory as one run.
  bool dense(int some) const {
    int64_t run = 1;
    for (int i = dimensions - 1; i >= dimensions - some; run *= shape[i--])
      if (shape[i] != 1 && strides[i] != run) return false;
    return true;
  }
  bool dense() const { return dense(dimensions); }
  int64_t stride(int i) const { return shape[i] == 1 ? 0 : strides[i]; }  // a dimension of one is shared by all
};

class Tensors {
 public:
  // torch.Tensor, torch.nn.Parameter, and what torch.Tensor has as __dlpack_c_exchange_api__. False: of another
  // version than these structs are of.
  bool learn(PyObject* tensor, PyObject* parameter, PyObject* capsule) {
    auto* table = static_cast<dlpack::Exchange*>(PyCapsule_GetPointer(capsule, dlpack::capsule_name));
    if (!table) return PyErr_Clear(), false;
    while (table && table->version.major != dlpack::major_version) table = table->older;
    if (!table || !table->tensor_from_object) return false;
    // What the attributes are made of, which nobody deletes: looking them up takes longer than asking them.
    PyObject* is_neg = PyObject_GetAttrString(tensor, "is_neg");
    PyObject* requires_grad = PyObject_GetAttrString(tensor, "requires_grad");
    PyErr_Clear();
    if (!is_neg || !requires_grad || Py_TYPE(is_neg) != &PyMethodDescr_Type || Py_TYPE(requires_grad) != &PyGetSetDescr_Type)
      return false;
    is_neg_ = reinterpret_cast<PyMethodDescrObject*>(is_neg)->d_method;
    requires_grad_ = reinterpret_cast<PyGetSetDescrObject*>(requires_grad)->d_getset;
    table_ = table, tensor_ = tensor, parameter_ = parameter;
    Py_INCREF(tensor);
    Py_INCREF(parameter);
    return true;
  }
  bool known() const { return table_; }

  // A tensor of floats of so many bits on the CPU, of no subclass but Parameter, that holds its own values.
  bool see(PyObject* object, int bits, Seen& seen) const {
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
    if (type != tensor_ && type != parameter_) return false;
    dlpack::Tensor t;
    if (table_->tensor_from_object(object, &t) != 0) return PyErr_Clear(), false;
    if (!t.data || t.device.type != dlpack::cpu || t.type.code != dlpack::floating || t.type.bits != bits) return false;
    if (!no(is_neg_->ml_meth(object, nullptr))) return false;  // a view of numbers of the other sign
    seen = {static_cast<char*>(t.data) + t.byte_offset, t.dimensions, t.shape, t.strides};
    return true;
  }
  bool requires_grad(PyObject* object) const { return !no(requires_grad_->get(object, requires_grad_->closure)); }

  // A new tensor on the CPU, its values undefined; null with a Python exception where there is no memory. Its memory is
  // ours, one block with what describes it, since torch would take several for the same; it cannot be resized.
  PyObject* empty(int bits, std::initializer_list<int64_t> sizes, void** data) const {
    struct Described {
      dlpack::Managed managed;
      int64_t shape[4], strides[4];
    };
    constexpr size_t aligned = 64;  // as torch's own
    int64_t numbers = 1;
    for (int64_t size : sizes) numbers *= size;
    auto* made = static_cast<Described*>(std::malloc(sizeof(Described) + aligned + size_t(numbers) * size_t(bits / 8)));
    if (!made) return PyErr_NoMemory();
    *data = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(made + 1) + aligned - 1) / aligned * aligned);
    int count = 0;
    for (int64_t size : sizes) {
      numbers = size ? numbers / size : 0;
      made->shape[count] = size, made->strides[count++] = numbers;
    }
    made->managed = {{dlpack::major_version, 0}, nullptr, [](dlpack::Managed* self) { std::free(self); }, 0,
                     {*data, {dlpack::cpu, 0}, count, {dlpack::floating, uint8_t(bits), 1}, made->shape, made->strides, 0}};
    void* object = nullptr;
    return table_->object_from_managed(&made->managed, &object) == 0 ? static_cast<PyObject*>(object) : nullptr;
  }

 private:
  static bool no(PyObject* answer) {
    if (!answer) PyErr_Clear();
    Py_XDECREF(answer);
    return answer == Py_False;  // what cannot be said is not plain either
  }

  const dlpack::Exchange* table_ = nullptr;
  PyObject *tensor_ = nullptr, *parameter_ = nullptr;
  const PyMethodDef* is_neg_ = nullptr;
  const PyGetSetDef* requires_grad_ = nullptr;
};

}  // namespace storyline
