// What of DLPack 1.x (https://dmlc.github.io/dlpack/latest/c_api.html) is needed to read and to make torch's tensors
// without a call of Python: the layout of its structs, which is stable within a major version.
#pragma once
#include <cstdint>

namespace storyline::dlpack {

inline constexpr uint32_t major_version = 1;
inline constexpr const char* capsule_name = "dlpack_exchange_api";
inline constexpr int32_t cpu = 1;
inline constexpr uint8_t floating = 2;

struct Version {
  uint32_t major, minor;
};
struct Device {
  int32_t type, id;
};
struct Type {
  uint8_t code, bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t dimensions;
  Type type;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct Managed {
  Version version;
  void* context;
  void (*deleter)(Managed*);
  uint64_t flags;
  Tensor tensor;
};

// The functions of a library that has tensors. They return 0 where they could, else -1 and a Python exception.
struct Exchange {
  Version version;
  Exchange* older;
  void* allocate;  // unused
  void* managed_from_object;  // unused
  int (*object_from_managed)(Managed* stolen, void** out);
  int (*tensor_from_object)(void* object, Tensor* out);  // borrowed; may be null
  void* work_stream;  // unused
};

}  // namespace storyline::dlpack
