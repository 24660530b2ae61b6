// What the driver was asked to do, for tests that count it.
#pragma once

#include "work.h"

namespace driver {

enum class Call : char { upload = 'U', download = 'D', launch = 'L', graph = 'G', wait = 'W' };

// Notes a call. The lock is held.
void note(Call call, size_t bytes = 0);

// Notes a copy between host and device.
void note(const Work& work);

}  // namespace driver
