// Bugs to plant, one at a time (-DPLANT=n). self_test.cpp says which check must find each.
#pragma once

#ifndef PLANT
#define PLANT 0
#endif

enum {
    NO_BARRIER_BEFORE_TILE = 1,
    NO_BARRIER_AFTER_TILE,
    WRONG_WAIT_COUNT,
    NO_SWIZZLE,
    ONE_PAST_THE_END,
    DIVERGENT_BARRIER,
    UNINITIALISED_READ,
    WRONG_FRAGMENT,
    NO_BARRIER_BEFORE_SUM,
    NO_BARRIER_AFTER_SUM,
};
