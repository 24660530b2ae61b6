// A libcuda.so.1 in front of the driver's stand-in (tests/simt), whose calls fail as rules.h says. `names.h`, which `build`
// makes, has FUNCTION(name) for each function of that. All take at most eleven integers or pointers.
#include <dlfcn.h>

#include <cstdint>

#include "rules.h"

#define PARAMETERS Word a, Word b, Word c, Word d, Word e, Word f, Word g, Word h, Word i, Word j, Word k
#define ARGUMENTS a, b, c, d, e, f, g, h, i, j, k

namespace {

using Word = intptr_t;
using Call = int (*)(PARAMETERS);

int call(const std::string &name, PARAMETERS) {
    // Functions that need no context still work after one is lost.
    const bool needs_context = name.compare(0, 8, "cuDevice") && name.compare(0, 5, "cuGet") && name != "cuInit";
    const int code = decide(name, !needs_context);
    if (code == NOT_A_NUMBER || code == ZERO) memset(reinterpret_cast<void *>(a), code == ZERO ? 0 : 0xff, size_t(c));
    if (code) return code < SKIP ? code : 0;
    static void *const driver = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    if (!driver) {
        fprintf(stderr, "FAULTS: %s\n", dlerror());
        _Exit(99);
    }
    return reinterpret_cast<Call>(dlsym(driver, name.c_str()))(ARGUMENTS);
}

}  // namespace

#define FUNCTION(name) \
    extern "C" __attribute__((visibility("default"))) int name(PARAMETERS) { return call(#name, ARGUMENTS); }
#include "names.h"
