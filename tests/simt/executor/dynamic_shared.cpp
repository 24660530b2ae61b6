// The dynamic shared memory, in an object file of its own: the build script moves it to the section of the kernels'
// static shared memory.
#include "../kernel/qualifiers.h"
#include "limits.h"

namespace simt {

alignas(1024) unsigned char dynamic_shared[MOST_SHARED_BYTES];

}  // namespace simt
