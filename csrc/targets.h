// The kinds of machine that this build has engines for, and the one whose engine is in use.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "engine.h"
#include "packed.h"

namespace storyline {

#define TARGET(name)             \
  namespace name {               \
  const Engines& get();          \
  const AllPackers& packers();   \
  }
STORYLINE_TARGETS(TARGET)
#undef TARGET

struct Target {
  const char* name;
  const Engines& (*get)();
  const AllPackers& (*packers)();
  bool runs;
};

inline std::vector<Target> targets() {
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

// The chosen one.
inline const Engines* engine = nullptr;
inline const AllPackers* packed = nullptr;
inline const char* engine_name = nullptr;

// By name; "": the widest that this machine runs.
inline void choose(const std::string& wanted) {
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
    throw std::invalid_argument("target is '" + wanted + "'; this build has " + known);
}

}  // namespace storyline
